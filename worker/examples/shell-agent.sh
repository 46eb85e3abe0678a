#!/bin/sh
# A warm agent without any SDK: one JSON object a line in, one out. The supervisor writes `type` and `taskId` first
# and task ids hold no quotes, so plain prefixes are enough and no payload can be taken for them.
answered=0
echo '{"type":"READY","protocol":1,"name":"shell-agent"}'
while IFS= read -r line; do
  case $line in
    '{"type":"TASK","taskId":"'*)
      id=${line#'{"type":"TASK","taskId":"'}
      id=${id%%'"'*}
      answered=$((answered + 1))
      printf '{"type":"COMPLETE","taskId":"%s","result":{"answered":%d}}\n' "$id" "$answered"
      ;;
    '{"type":"PING","seq":'*)
      seq=${line#'{"type":"PING","seq":'}
      printf '{"type":"PONG","seq":%s}\n' "${seq%%[!0-9]*}"
      ;;
    '{"type":"SHUTDOWN"'*) exit 0 ;;
  esac
done
