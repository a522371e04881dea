# shellcheck shell=bash
# The processes of Copilot itself: one API and two workers.

# shellcheck source=http.sh
. "$LIB/http.sh"

PARTS=(api worker1 worker2)
# The development user of the printed example; any other `sub` would do.
EXAMPLE_USER=3e53486c-cf57-477e-ba2a-cb02dc828e1a
EXAMPLE_TOKEN_SECONDS=$((30 * 24 * 3600))

# Where each part listens. The second worker takes the port after the first one's.
set_addresses() {
  export API_LISTEN=${API_LISTEN:-127.0.0.1:8080} API_OPS_LISTEN=${API_OPS_LISTEN:-127.0.0.1:9080}
  local first=${WORKER_OPS_LISTEN:-127.0.0.1:9081} address
  declare -gA OPS=([api]=$API_OPS_LISTEN [worker1]=$first [worker2]=${first%:*}:$((${first##*:} + 1)))
  for address in "$API_LISTEN" "${OPS[@]}"; do
    case ${address##*:} in
      0 | '' | *[!0-9]*) die "'$address' has no fixed port: give API_LISTEN, API_OPS_LISTEN and WORKER_OPS_LISTEN one each" ;;
    esac
  done
}

stopped_parts() {
  local part
  for part in "${PARTS[@]}"; do is_running "$part" || printf '%s\n' "$part"; done
}

# Before anything slow is done: a taken port is somebody else's, since ours are those of running parts.
check_ports_of() { # PART…
  local part address addresses
  for part in "$@"; do
    addresses=("${OPS[$part]}")
    if [ "$part" = api ]; then addresses+=("$API_LISTEN"); fi
    for address in "${addresses[@]}"; do
      split_address "$address"
      if port_taken "$HTTP_PORT" "$HTTP_HOST"; then
        die "$address is taken by another program, but the ${part%[0-9]} shall listen there: stop it, or set $(variable_of "$part" "$address")"
      fi
    done
  done
}

variable_of() { # PART ADDRESS
  if [ "$1" != api ]; then
    echo WORKER_OPS_LISTEN
  elif [ "$2" = "$API_LISTEN" ]; then
    echo API_LISTEN
  else
    echo API_OPS_LISTEN
  fi
}

start_part() { # PART
  local log=$LOG_DIR/$1.log
  if [ -e "$log" ]; then mv -f "$log" "$log.1"; fi
  : >"$log"
  case $1 in
    api) spawn api "$log" "$BIN_DIR/copilot-api" serve ;;
    *) spawn "$1" "$log" env "WORKER_OPS_LISTEN=${OPS[$1]}" "$BIN_DIR/copilot-worker" run ;;
  esac
}

await_part() { # PART
  await_answer "$1" "$LOG_DIR/$1.log" 60 part_ready "$1"
}

part_ready() { http GET "${OPS[$1]}" /health/ready | is_success; } # PART

# All are asked at once, so that they drain together.
stop_parts() {
  local part running=()
  for part in "${PARTS[@]}"; do
    if is_running "$part"; then running+=("$part"); fi
  done
  if [ "${#running[@]}" -eq 0 ]; then return; fi
  local grace=${SHUTDOWN_GRACE_SECONDS:-30}
  step "Stopping ${running[*]} (running turns may take up to $grace s)"
  for part in "${running[@]}"; do signal_process "$part" TERM; done
  for part in "${PARTS[@]}"; do stop_process "$part" TERM "$((grace + 10))"; done
}

# What to do now, kept in a file so that a later `up` can say the same.
write_welcome() {
  local url token session
  url=http://$(authority "$API_LISTEN")
  printf '\nCopilot is ready.\n\n'
  printf '  Playground  %s/\n  API docs    %s/docs\n  Logs        %s/\n\n' "$url" "$url" "$LOG_DIR"
  if ! token=$("$BIN_DIR/copilot-api" token --user "$EXAMPLE_USER" --ttl "$EXAMPLE_TOKEN_SECONDS" 2>/dev/null); then
    printf "Tokens are signed elsewhere (see JWT_VERIFY_KEY and JWT_JWKS_URL). With yours in \$TOKEN:\n\n"
    printf "  curl -X POST %s/api/chat/sessions -H \"Authorization: Bearer \$TOKEN\"\n\n" "$url"
  elif session=$(example_session "$token"); then
    printf 'Say something to it:\n\n'
    printf "  curl -N %s/api/chat/sessions/%s/stream \\\\\n" "$url" "$session"
    printf "    -H 'Authorization: Bearer %s' \\\\\n" "$token"
    printf "    -H 'Content-Type: application/json' -d '{\"message\":\"Hello, what can you do?\"}'\n\n"
  else
    printf 'A session could not be made; see the log of the API. Your token:\n\n  %s\n\n' "$token"
  fi
}

# The session of the last time, as long as it exists, so that each start does not add an empty one.
example_session() { # TOKEN
  local file=$DATA_DIR/example-session session answer authorization="Authorization: Bearer $1"
  session=$(cat "$file" 2>/dev/null) || session=
  if [ -z "$session" ] || ! http GET "$API_LISTEN" "/api/chat/sessions/$session" '' "$authorization" | is_success; then
    answer=$(http POST "$API_LISTEN" /api/chat/sessions '{}' "$authorization") || return 1
    is_success <<<"$answer" || return 1
    session=$(tail -n 1 <<<"$answer" | sed -n 's/.*"id" *: *"\([^"]*\)".*/\1/p')
    [ -n "$session" ] || return 1
    printf '%s\n' "$session" >"$file"
  fi
  printf '%s' "$session"
}
