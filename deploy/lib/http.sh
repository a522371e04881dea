# shellcheck shell=bash
# Just enough HTTP for a machine that has no curl.

# Splits HOST:PORT or [HOST]:PORT into HTTP_HOST and HTTP_PORT. Who listens on every address is
# reached on the loopback.
split_address() { # ADDRESS
  HTTP_PORT=${1##*:}
  HTTP_HOST=${1%:*}
  HTTP_HOST=${HTTP_HOST#\[}
  HTTP_HOST=${HTTP_HOST%\]}
  case $HTTP_HOST in
    '' | 0.0.0.0) HTTP_HOST=127.0.0.1 ;;
    ::) HTTP_HOST=::1 ;;
  esac
}

# The same as the authority of a URL.
authority() { # ADDRESS
  split_address "$1"
  case $HTTP_HOST in
    *:*) printf '[%s]:%s' "$HTTP_HOST" "$HTTP_PORT" ;;
    *) printf '%s:%s' "$HTTP_HOST" "$HTTP_PORT" ;;
  esac
}

# Prints the whole answer. HTTP/1.0 keeps the server from chunking it and from keeping the connection.
http() { # METHOD ADDRESS PATH [BODY [HEADER…]]
  local body=${4:-} request header
  split_address "$2"
  printf -v request '%s %s HTTP/1.0\r\nHost: %s:%s\r\n' "$1" "$3" "$HTTP_HOST" "$HTTP_PORT"
  for header in "${@:5}"; do request+=$header$'\r\n'; done
  if [ -n "$body" ]; then request+="Content-Type: application/json"$'\r\n'"Content-Length: ${#body}"$'\r\n'; fi
  (
    exec 3<>"/dev/tcp/$HTTP_HOST/$HTTP_PORT" || exit 1
    printf '%s\r\n%s' "$request" "$body" >&3
    timeout 10 cat <&3
  ) 2>/dev/null
}

# Succeeds if the status of the answer on standard input is 2xx. Reads it all, so that whoever writes
# it does not fail.
is_success() { [ -n "$(sed -n '1{/^HTTP\/1\.[01] 2/p;}')" ]; }
