#!/bin/sh
# Starts the daemon. Where strangers can reach it and nobody has made a key yet, the first one is
# made here; it lies in a file that only the container's user can read.
set -eu
keys=${CTRADER_STREAM_WEB_KEYS_FILE:-}
if [ -n "$keys" ] && [ ! -e "$keys" ]; then
    first=$(dirname "$keys")/first.key
    # Of a start that was ended halfway, or of a key file that is gone: it opens nothing.
    rm -f "$first"
    ctrader-stream keys add first --scope read --file "$keys" --to "$first"
fi
exec twistd --nodaemon --pidfile= --logger=ctrader_twisted.logs.json_stderr ctrader-stream "$@"
