"""Counts lines, and takes its time over each piece of its input."""

import sys, time

lines = 0
while piece := sys.stdin.buffer.read1(1 << 16):
    lines += piece.count(b"\n")
    time.sleep(0.002)
print(lines)
