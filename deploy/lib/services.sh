# shellcheck shell=bash
# PostgreSQL, Redis and RabbitMQ for one data directory, each from the first source that works:
# (1) a URL in the environment, (2) docker compose, (3) a private instance of the system's packages.
#
#   use_data_dir DIR MODE; services_begin; … services_ready; … services_end

# shellcheck disable=SC2034 # the files below use these
LIB=$(dirname "${BASH_SOURCE[0]}")
ROOT=$(cd "$LIB/../.." && pwd -P)
# shellcheck source=say.sh
. "$LIB/say.sh"
# shellcheck source=process.sh
. "$LIB/process.sh"
# shellcheck source=ports.sh
. "$LIB/ports.sh"
# shellcheck source=packages.sh
. "$LIB/packages.sh"
# shellcheck source=node.sh
. "$LIB/node.sh"
# shellcheck source=chromium.sh
. "$LIB/chromium.sh"
# shellcheck source=home.sh
. "$LIB/home.sh"
# shellcheck source=postgres.sh
. "$LIB/postgres.sh"
# shellcheck source=redis.sh
. "$LIB/redis.sh"
# shellcheck source=rabbitmq.sh
. "$LIB/rabbitmq.sh"
# shellcheck source=compose.sh
. "$LIB/compose.sh"

# The slowest to boot comes first.
SERVERS=(rabbitmq postgres redis)
declare -A URL_NAME=([postgres]=DATABASE_URL [redis]=REDIS_URL [rabbitmq]=RABBITMQ_URL)

# MODE `durable` keeps what the servers store, `throwaway` begins empty and leaves nothing.
use_data_dir() { # DIR MODE
  DATA_DIR=$1
  SERVER_MODE=$2
  RUN_DIR=$DATA_DIR/run
  LOG_DIR=$DATA_DIR/logs
  SERVERS_DIR=$DATA_DIR/servers
  # The servers' accounts must be able to walk to their directories whatever the caller's umask is.
  umask 022
  if ! mkdir -p "$RUN_DIR" "$LOG_DIR" 2>/dev/null || [ ! -w "$RUN_DIR" ]; then
    die "cannot write to $DATA_DIR: run this as the user who made it, or remove it"
  fi
}

servers_running() {
  local server
  [ -e "$RUN_DIR/compose" ] && return
  for server in "${SERVERS[@]}" epmd; do
    if is_running "$server"; then return 0; fi
  done
  return 1
}

# Drops the URLs that name servers of DIR, which carry its secret. They are in the environment of
# whoever has sourced servers.env, and are no servers of somebody else.
forget_urls_of() { # DIR
  local secret url
  secret=$(cat "$1/servers/secret" 2>/dev/null) || return 0
  for url in "${URL_NAME[@]}"; do
    case ${!url:-} in *"$secret"*) unset "$url" ;; esac
  done
}

# Starts what is not running yet and does not wait for it.
services_begin() {
  local server
  forget_urls_of "$DATA_DIR"
  if [ "$SERVER_MODE" = throwaway ] && ! servers_running; then services_erase; fi
  choose_sources
  ensure_packages "${PRIVATE[@]}"
  prepare_servers_dir "${PRIVATE[@]}"
  choose_ports
  if [ "${#CONTAINED[@]}" -gt 0 ] && ! compose_begin "${CONTAINED[@]}"; then
    PRIVATE+=("${CONTAINED[@]}")
    ensure_packages "${CONTAINED[@]}"
    prepare_servers_dir "${CONTAINED[@]}"
    CONTAINED=()
  fi
  if [ "${#PRIVATE[@]}" -gt 0 ]; then step "Starting private servers on 127.0.0.1: ${PRIVATE[*]} (files: $SERVERS_DIR)"; fi
  for server in "${PRIVATE[@]}"; do "${server}_begin"; done
}

# Sets GIVEN, CONTAINED and PRIVATE. A server that already has private files stays private, so that
# what it stores is found again although a Docker engine has appeared.
choose_sources() {
  local server url
  GIVEN=() CONTAINED=() PRIVATE=()
  for server in "${SERVERS[@]}"; do
    url=${URL_NAME[$server]}
    if [ -n "${!url:-}" ]; then
      GIVEN+=("$url")
    elif [ ! -d "$SERVERS_DIR/$server" ] && compose_answers; then
      CONTAINED+=("$server")
    else
      PRIVATE+=("$server")
    fi
  done
  if [ "${#GIVEN[@]}" -gt 0 ]; then step "Using the servers named by ${GIVEN[*]}"; fi
}

# Waits until all answer and exports their URLs.
services_ready() {
  local server url
  for server in "${PRIVATE[@]}"; do
    "${server}_ready"
    note "$server answers"
  done
  for server in "${PRIVATE[@]}" "${CONTAINED[@]}"; do
    url=${URL_NAME[$server]}
    export "$url=$("${server}_url")"
  done
  services_env | write_private "$RUN_DIR/servers.env"
}

services_env() {
  local server url
  for server in postgres redis rabbitmq; do
    url=${URL_NAME[$server]}
    printf 'export %s=%q\n' "$url" "${!url}"
  done
}

# Takes one private server away, as a crash does or in order. The others go on.
server_break() { # SERVER crash|stop
  is_running "$1" || die "$1 is no private server of $DATA_DIR"
  if [ "$2" = crash ]; then
    "$1_crash"
  elif [ "$1" = rabbitmq ]; then
    # Its epmd stays, as that of a system does.
    stop_process rabbitmq TERM 30
  else
    "$1_end"
  fi
}

# Brings it back, with what it had stored, or `empty`.
server_mend() { # SERVER [empty]
  choose_ports
  prepare_servers_dir "$1"
  if [ "${2:-}" = empty ]; then rm -rf "${SERVERS_DIR:?}/$1"; fi
  "$1_begin"
  "$1_ready"
}

# Stops what was started for this data directory, whoever started it.
services_end() {
  local server running=()
  if servers_running; then choose_ports; fi
  for server in redis postgres rabbitmq epmd; do
    if is_running "$server"; then running+=("$server"); fi
  done
  if [ "${#running[@]}" -gt 0 ]; then
    step "Stopping the private servers: ${running[*]}"
    # Together, then one by one: the time of the slowest instead of the sum.
    signal_process redis TERM
    signal_process postgres INT
    for server in rabbitmq postgres redis; do "${server}_end"; done
  fi
  compose_end
  rm -f "$RUN_DIR/servers.env"
  if [ "$SERVER_MODE" = throwaway ]; then services_erase; fi
}

# The link to files that live elsewhere is kept: only what the servers stored goes.
services_erase() {
  local server
  for server in "${SERVERS[@]}" compose; do rm -rf "${SERVERS_DIR:?}/$server"; done
}
