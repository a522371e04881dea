# shellcheck shell=bash
# A private Redis: loopback only, kept on disk by an append-only file, for which tests do not wait.

redis_url() { printf 'redis://default:%s@127.0.0.1:%s/0' "$(server_secret)" "$REDIS_PORT"; }

redis_begin() {
  is_running redis && return
  local home=$SERVERS_DIR/redis sync=everysec
  prepare_home redis redis
  if [ "$SERVER_MODE" = throwaway ]; then sync=no; fi
  write_private "$home/redis.conf" <<END
bind 127.0.0.1
port $REDIS_PORT
requirepass $(server_secret)
dir "$home"
appendonly yes
appendfsync $sync
save ""
maxclients 20000
tcp-backlog 511
END
  spawn redis "$LOG_DIR/redis.log" "${AS_OWNER[@]}" redis-server "$home/redis.conf"
}

redis_ready() { await_answer redis "$LOG_DIR/redis.log" 60 redis_answers; }

# A Redis that still loads its file answers, but not with PONG.
redis_answers() {
  [ "$(REDISCLI_AUTH=$(server_secret) redis-cli -h 127.0.0.1 -p "$REDIS_PORT" ping 2>/dev/null)" = PONG ]
}

redis_crash() { stop_process redis KILL 5; }

redis_end() { stop_process redis TERM 30; }
