# shellcheck shell=bash
# shellcheck disable=SC2034 # the ports are for the files of the servers
# Ports: whether one is taken, and a block of free ones for the servers of one data directory.

port_taken() { # PORT [HOST]
  (exec 3<>"/dev/tcp/${2:-127.0.0.1}/$1") 2>/dev/null
}

block_taken() { # BASE
  local port
  for port in $(seq "$1" "$(($1 + 4))"); do
    if port_taken "$port"; then return 0; fi
  done
  return 1
}

# Sets POSTGRES_PORT, REDIS_PORT, AMQP_PORT, RABBIT_DIST_PORT and EPMD_PORT. The search begins at a
# place that depends on the directory, so that two clones which start at once do not meet; it stays
# between 23000 and 31000, off every standard port and below the range of outgoing connections.
choose_ports() {
  local base slot
  base=$(cat "$DATA_DIR/ports" 2>/dev/null) || base=
  if [ -z "$base" ] || { ! servers_running && block_taken "$base"; }; then
    slot=$(printf '%s' "$DATA_DIR" | cksum | cut -d' ' -f1)
    while :; do
      slot=$(((slot + 1) % 1000))
      base=$((23000 + slot * 8))
      block_taken "$base" || break
    done
    printf '%s\n' "$base" >"$DATA_DIR/ports"
  fi
  POSTGRES_PORT=$base
  REDIS_PORT=$((base + 1))
  AMQP_PORT=$((base + 2))
  RABBIT_DIST_PORT=$((base + 3))
  EPMD_PORT=$((base + 4))
}
