#!/bin/sh
# gateway.sh: puts the perigee of the Dockerfile's image on the PATH of the steps
# that follow.
set -eu
image=$(sed -n 's/^FROM //p' Dockerfile)
id=$(docker create "$image")
docker cp "$id:/usr/bin/perigee" "$RUNNER_TEMP/perigee"
docker rm "$id" >/dev/null
echo "$RUNNER_TEMP" >>"$GITHUB_PATH"
"$RUNNER_TEMP/perigee" version
