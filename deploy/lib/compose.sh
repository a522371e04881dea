# shellcheck shell=bash
# The servers as containers, where a Docker engine answers.

# A docker program alone proves nothing: the engine must answer, and know `compose`.
compose_answers() {
  if [ -z "${COMPOSE_ANSWERS:-}" ]; then
    COMPOSE_ANSWERS=no
    if command -v docker && timeout 10 docker info && docker compose version; then COMPOSE_ANSWERS=yes; fi &>/dev/null
  fi
  [ "$COMPOSE_ANSWERS" = yes ]
}

# Sets COMPOSE, the words before a subcommand. One project for each data directory, so that tests
# and two clones stay apart.
set_compose() {
  local files=(-f "$ROOT/deploy/compose.yaml") project
  if [ "$SERVER_MODE" = throwaway ]; then files+=(-f "$ROOT/deploy/compose.test.yaml"); fi
  project=copilot-$(printf '%s' "$DATA_DIR" | cksum | cut -d' ' -f1)
  COMPOSE=(env "COPILOT_STATE=$SERVERS_DIR/compose" "COPILOT_SECRET=$(server_secret)"
    "POSTGRES_PORT=$POSTGRES_PORT" "REDIS_PORT=$REDIS_PORT" "AMQP_PORT=$AMQP_PORT"
    docker compose -p "$project" "${files[@]}")
}

compose_begin() { # SERVER…
  step "Starting $* with docker compose (the first time it fetches the images)"
  : >"$RUN_DIR/compose"
  set_compose
  if ! run_interruptible "${COMPOSE[@]}" up -d --wait "$@" >>"$LOG_DIR/compose.log" 2>&1; then
    note "docker compose failed (see $LOG_DIR/compose.log): going on without it"
    compose_end
    return 1
  fi
}

compose_end() {
  [ -e "$RUN_DIR/compose" ] || return 0
  step 'Stopping the containers'
  set_compose
  "${COMPOSE[@]}" down >>"$LOG_DIR/compose.log" 2>&1 || note "docker compose down failed, see $LOG_DIR/compose.log"
  rm -f "$RUN_DIR/compose"
}
