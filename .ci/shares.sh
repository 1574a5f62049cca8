#!/bin/bash
# shares.sh NAME LEAST COMMAND...: run a suite, and say which part of the exchanges
# of all gateways that it started was begun by event loops. It fails as COMMAND
# does, and where that is under LEAST percent. What is not the loops' are
# listeners with `driver: goroutine`.
set -uo pipefail
name=$1 least=$2
shift 2
PERIGEE_EXCHANGES_FILE=$(mktemp)
export PERIGEE_EXCHANGES_FILE
trap 'rm -f "$PERIGEE_EXCHANGES_FILE"' EXIT
"$@"
status=$?
awk -v name="$name" -v least="$least" '
  { looped += $1; others += $2; gateways++ }
  END {
    total = looped + others
    if (total == 0) { print name ": no exchange was begun"; exit 1 }
    share = 100 * looped / total
    printf "%s: %d exchanges of %d gateways, %.1f %% by event loops\n", name, total, gateways, share
    if (share < least) { printf "%s: event loops are to begin %s %%\n", name, least; exit 1 }
  }' "$PERIGEE_EXCHANGES_FILE" || status=1
exit $status
