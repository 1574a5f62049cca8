#!/bin/sh
# port.sh FROM: prints FROM, or the next port in steps of ten that nothing listens on.
set -eu
port=$1
while grep -qi ":$(printf %04X "$port") [0-9A-F]*:[0-9A-F]* 0A" /proc/net/tcp /proc/net/tcp6 2>/dev/null; do
	port=$((port + 10))
	[ "$port" -lt 32768 ] || { echo "port: nothing is free from $1 on" >&2; exit 1; }
done
echo "$port"
