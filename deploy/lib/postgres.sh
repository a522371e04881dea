# shellcheck shell=bash
# A private PostgreSQL: own cluster, loopback only, a password instead of a socket directory.

# Debian keeps the server's programs off the PATH, in one directory for each version. An existing
# cluster needs its own version, a new one takes the latest.
postgres_bin() {
  local version programs program
  version=$(cat "$SERVERS_DIR/postgres/data/PG_VERSION" 2>/dev/null) || version='[0-9]*'
  mapfile -t programs < <(compgen -G "/usr/lib/postgresql/$version/bin/postgres" | sort -V)
  if [ "${#programs[@]}" -gt 0 ]; then
    program=${programs[-1]}
  else
    program=$(command -v postgres) || return 1
  fi
  dirname "$program"
}

postgres_url() { printf 'postgres://postgres:%s@127.0.0.1:%s/copilot' "$(server_secret)" "$POSTGRES_PORT"; }

postgres_begin() {
  is_running postgres && return
  local home=$SERVERS_DIR/postgres bin options=()
  prepare_home postgres postgres
  bin=$(postgres_bin) || die "$home was made by a PostgreSQL $(cat "$home/data/PG_VERSION"), which is not installed"
  [ -s "$home/data/PG_VERSION" ] || postgres_init "$bin" "$home"
  postgres_adopt "$home/data" && return
  # Tests may lose their data with the machine, so they need not wait for the disk; a crash of the
  # server alone must lose nothing, since they crash it.
  if [ "$SERVER_MODE" = throwaway ]; then options=(-c fsync=off -c full_page_writes=off); fi
  spawn postgres "$LOG_DIR/postgres.log" "${AS_OWNER[@]}" "$bin/postgres" -D "$home/data" -p "$POSTGRES_PORT" \
    -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c max_connections=400 "${options[@]}"
}

# Into a name of its own first, so that an interrupted start leaves nothing that looks like a cluster.
postgres_init() { # BIN HOME
  local auth=scram-sha-256
  # In a debug build a client takes a tenth of a second of its processor for a SCRAM handshake, and
  # tests that break connections shake hands all the time; here the password crosses the loopback only.
  if [ "$SERVER_MODE" = throwaway ]; then auth=password; fi
  step "Creating a PostgreSQL cluster in $2"
  rm -rf "$2/new" "$2/data"
  server_secret | write_private "$2/password"
  (cd "$2" && "${AS_OWNER[@]}" "$1/initdb" -D "$2/new" -U postgres --auth="$auth" --pwfile="$2/password" \
    -E UTF8 --locale=C.UTF-8 --no-sync) >>"$LOG_DIR/postgres.log" 2>&1 || die "initdb failed; see $LOG_DIR/postgres.log"
  rm "$2/password"
  mv "$2/new" "$2/data"
}

# The cluster's own lock may name a server that runs although our record of it was lost, or, after a
# crash or in a copied directory, somebody else: only a process that works in this cluster is its server.
postgres_adopt() { # DATA
  local pid
  pid=$(head -n 1 "$1/postmaster.pid" 2>/dev/null) || return 1
  if [ "$("${AS_OWNER[@]}" readlink "/proc/$pid/cwd" 2>/dev/null)" = "$(readlink -f "$1")" ]; then
    record_process postgres "$pid"
    POSTGRES_PORT=$(sed -n 4p "$1/postmaster.pid")
  else
    rm -f "$1/postmaster.pid"
    return 1
  fi
}

postgres_ready() {
  local bin
  bin=$(postgres_bin)
  await_answer postgres "$LOG_DIR/postgres.log" 60 "$bin/pg_isready" -q -h 127.0.0.1 -p "$POSTGRES_PORT"
  local psql=("$bin/psql" -X -q -A -t -h 127.0.0.1 -p "$POSTGRES_PORT" -U postgres -d postgres)
  export PGPASSWORD
  PGPASSWORD=$(server_secret)
  if [ -z "$("${psql[@]}" -c "SELECT 1 FROM pg_database WHERE datname = 'copilot'")" ]; then
    "${psql[@]}" -c 'CREATE DATABASE copilot'
  fi
  unset PGPASSWORD
}

# PostgreSQL's immediate shutdown: nothing is saved, no client is told. Killed outright, it would
# leave its children behind.
postgres_crash() { stop_process postgres QUIT 10; }

# SIGINT is PostgreSQL's fast shutdown; SIGTERM would wait for every client to leave by itself.
postgres_end() { stop_process postgres INT 30; }
