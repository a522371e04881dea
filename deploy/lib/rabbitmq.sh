# shellcheck shell=bash
# A private RabbitMQ with an epmd of its own, both on loopback only. The slowest to boot of the
# three: begin it first and do something else meanwhile.

# The program itself, not the wrapper in /usr/sbin, which insists on the system's own directories.
rabbitmq_bin() {
  local bin
  for bin in /usr/lib/rabbitmq/bin /usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin; do
    if [ -x "$bin/rabbitmq-server" ]; then
      printf '%s' "$bin"
      return
    fi
  done
  return 1
}

rabbitmq_url() { printf 'amqp://copilot:%s@127.0.0.1:%s/%%2f' "$(server_secret)" "$AMQP_PORT"; }

# Sets RABBITMQ_ENV: all that the server and its tools are told, and nothing of the system's own
# instance (env -i, own configuration files, own node name, own cookie).
rabbitmq_environment() { # HOME
  RABBITMQ_ENV=(
    env -i "PATH=$PATH" "HOME=$1" LANG=C.UTF-8
    "ERL_EPMD_PORT=$EPMD_PORT" ERL_EPMD_ADDRESS=127.0.0.1
    RABBITMQ_NODENAME=copilot@localhost "RABBITMQ_DIST_PORT=$RABBIT_DIST_PORT"
    "RABBITMQ_CONF_ENV_FILE=$1/rabbitmq-env.conf" "RABBITMQ_CONFIG_FILE=$1/rabbitmq.conf"
    "RABBITMQ_ADVANCED_CONFIG_FILE=$1/advanced.config" "RABBITMQ_ENABLED_PLUGINS_FILE=$1/enabled_plugins"
    "RABBITMQ_MNESIA_BASE=$1/mnesia" "RABBITMQ_LOG_BASE=$1" RABBITMQ_LOGS=-
    "RABBITMQ_PID_FILE=$1/rabbitmq.pid"
    # Under systemd the start script becomes the server instead of its parent: one pid to watch.
    RUNNING_UNDER_SYSTEMD=yes
    "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-kernel inet_dist_use_interface {127,0,0,1} -start_epmd false"
  )
}

rabbitmq_begin() {
  is_running rabbitmq && return
  local home=$SERVERS_DIR/rabbitmq
  prepare_home rabbitmq rabbitmq
  # What an interrupted first boot has left is no database yet.
  [ -e "$home/booted" ] || rm -rf "$home/mnesia"
  rabbitmq_configure "$home"
  rabbitmq_environment "$home"
  # An epmd of ours without its server is one of a crashed run.
  stop_process epmd TERM 5
  (cd "$home" && spawn epmd "$LOG_DIR/rabbitmq.log" "${AS_OWNER[@]}" "${RABBITMQ_ENV[@]}" \
    epmd -port "$EPMD_PORT" -address 127.0.0.1)
  await_answer epmd "$LOG_DIR/rabbitmq.log" 10 port_taken "$EPMD_PORT"
  (cd "$home" && spawn rabbitmq "$LOG_DIR/rabbitmq.log" "${AS_OWNER[@]}" "${RABBITMQ_ENV[@]}" \
    "$(rabbitmq_bin)/rabbitmq-server")
}

# In Erlang's own notation, which is read at once; translating a rabbitmq.conf takes two seconds.
rabbitmq_configure() { # HOME
  local secret
  secret=$(server_secret)
  write_private "$1/.erlang.cookie" <<<"$secret"
  write_private "$1/rabbitmq-env.conf" </dev/null
  write_private "$1/enabled_plugins" <<<'[].'
  write_private "$1/advanced.config" <<END
[{rabbit, [
  {tcp_listeners, [{"127.0.0.1", $AMQP_PORT}]},
  {default_user, <<"copilot">>},
  {default_pass, <<"$secret">>},
  {vm_memory_high_watermark, {absolute, 1000000000}},
  {disk_free_limit, 50000000},
  {log, [{console, [{enabled, true}]}, {file, [{file, false}]}]}
]}].
END
}

rabbitmq_ready() {
  await_answer rabbitmq "$LOG_DIR/rabbitmq.log" 120 rabbitmq_answers
  : >"$SERVERS_DIR/rabbitmq/booted"
}

# Sends the protocol header and waits for the first byte of Connection.Start, a method frame.
rabbitmq_answers() {
  (
    exec 3<>"/dev/tcp/127.0.0.1/$AMQP_PORT" || exit 1
    printf 'AMQP\0\0\11\1' >&3
    LC_ALL=C IFS='' read -r -t 5 -n 1 frame <&3
    [ "$frame" = $'\1' ]
  ) 2>/dev/null
}

rabbitmq_crash() { stop_process rabbitmq KILL 5; }

# While it boots it is deaf to SIGTERM, and has nothing to save either.
rabbitmq_end() {
  if is_running rabbitmq && ! rabbitmq_answers; then signal_process rabbitmq KILL; fi
  stop_process rabbitmq TERM 30
  stop_process epmd TERM 5
}
