"""Tests of the actions over a host in memory: python3 -m unittest"""

import unittest
from types import SimpleNamespace

import actions


class Fake:
    """A host with one counter."""

    def __init__(self):
        self.started = 0
        self.lines = None

    def caller(self):
        return "alice"

    def run(self, command, *args):
        assert (command, args) == ("uname", ("-sr",))
        return SimpleNamespace(stdout="Linux 6.12\n")

    def start(self, label, command, *args):
        self.started += 1
        self.lines = 0
        return "id"

    def find(self, label):
        return None if self.lines is None else "id"

    def ask(self, id, line):
        self.lines += 1
        return str(self.lines)

    def stop(self, id):
        self.lines = None
        return SimpleNamespace(signal=15)


class Actions(unittest.TestCase):
    def test_greets_the_caller(self):
        self.assertEqual(actions.hello(Fake(), None), "Hello, alice!")

    def test_tells_the_kernel(self):
        self.assertEqual(actions.kernel(Fake(), None), "Linux 6.12")

    def test_counts_over_calls_with_one_process(self):
        host = Fake()
        self.assertEqual([actions.count(host, None) for _ in range(3)], [1, 2, 3])
        self.assertEqual(host.started, 1)
        self.assertEqual(actions.stop(host, None), {"signal": 15})
        self.assertRaises(LookupError, actions.stop, host, None)


if __name__ == "__main__":
    unittest.main()
