#!/bin/sh
# Calls the actions in the real host, and compares what they return.
set -eu
cd "$(dirname "$0")"

answers=$("${CAPSULE:-capsule}" run --principal alice --grant-all-asked . hello kernel count count stop)
data=$(printf '%s\n' "$answers" | sed 's/.*"data":\(.*\)},"ms":[0-9]*}$/\1/')
expected=$(printf '"Hello, alice!"\n"%s"\n1\n2\n"ended by a signal"' "$(uname -sr)")
if [ "$data" != "$expected" ]; then
    printf 'expected:\n%s\nbut the capsule returned:\n%s\n' "$expected" "$answers" >&2
    exit 1
fi
echo ok
