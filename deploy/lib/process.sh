# shellcheck shell=bash
# Long-lived processes that outlive a command: start, recognise, stop.
#
# A record $RUN_DIR/NAME.pid holds "PID BIRTH ROOT". The birth (in ticks since boot) tells a process
# from a later one that was given the same number; the root tells it from one of another clone whose
# .data was copied here. So a record is never believed when it is stale.

# Prints when a process was born; fails if it has ended (a zombie has ended, too).
process_birth() { # PID
  local stat fields
  { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
  # The second field is a name in parentheses, which may hold spaces; the third is the state.
  read -ra fields <<<"${stat##*) }"
  case ${fields[0]} in Z | X) return 1 ;; esac
  printf '%s' "${fields[19]}"
}

record_process() { # NAME PID
  local birth
  birth=$(process_birth "$2") || birth=ended
  # shellcheck disable=SC2153 # ROOT is the clone's, no misspelling
  printf '%s %s %s\n' "$2" "$birth" "$ROOT" >"$RUN_DIR/$1.pid"
}

# Prints the pid of a recorded process that still runs.
process_pid() { # NAME
  local pid birth root
  { read -r pid birth root <"$RUN_DIR/$1.pid"; } 2>/dev/null || return 1
  [ "$root" = "$ROOT" ] && [ "$(process_birth "$pid")" = "$birth" ] && printf '%s' "$pid"
}

is_running() { process_pid "$1" >/dev/null; } # NAME

# A session of its own keeps the terminal's Ctrl-C away from it: only stop_process ends it, in order.
spawn() { # NAME LOG COMMAND…
  local name=$1 log=$2
  shift 2
  setsid -- "$@" >>"$log" 2>&1 </dev/null &
  record_process "$name" "$!"
  disown "$!"
}

signal_process() { # NAME SIGNAL
  local pid
  if pid=$(process_pid "$1"); then kill "-$2" "$pid"; fi
}

await_exit() { # NAME SECONDS
  local deadline=$((SECONDS + $2))
  while is_running "$1"; do
    [ "$SECONDS" -le "$deadline" ] || return 1
    sleep 0.05
  done
}

# Asks with SIGNAL, insists after SECONDS.
stop_process() { # NAME SIGNAL SECONDS
  signal_process "$1" "$2" || note "$1 cannot be signalled: it belongs to another user"
  if ! await_exit "$1" "$3"; then
    note "$1 did not stop within $3 s: killed"
    signal_process "$1" KILL
    await_exit "$1" 5
  fi
  rm -f "$RUN_DIR/$1.pid"
}

# Polls until the probe succeeds; gives up early when the process has ended, and shows why.
await_answer() { # NAME LOG SECONDS PROBE…
  local name=$1 log=$2 deadline=$((SECONDS + $3))
  shift 3
  until "$@"; do
    if ! is_running "$name" || [ "$SECONDS" -gt "$deadline" ]; then
      tail -n 15 "$log" >&2
      die "$name did not come up; its last lines are above, all of them in $log"
    fi
    sleep 0.1
  done
}

# Runs a long command so that a signal to this script is handled at once, not when the command ends.
# The command leads a process group, so that ending it ends its children, too.
run_interruptible() { # COMMAND…
  setsid -- "$@" </dev/null &
  INTERRUPTIBLE=$!
  local status=0
  wait "$INTERRUPTIBLE" || status=$?
  INTERRUPTIBLE=
  return "$status"
}

end_interruptible() {
  if [ -n "${INTERRUPTIBLE:-}" ]; then kill -TERM -- "-$INTERRUPTIBLE" 2>/dev/null; fi
  INTERRUPTIBLE=
}

# A shell that is itself started with `&` by a script inherits an ignored SIGINT, which no trap can
# take back. Starting once more with the default makes Ctrl-C and `kill -INT` work there as well.
restore_interrupt() { # SCRIPT ARGUMENTS…
  local mask
  mask=$(sed -n 's/^SigIgn:[[:space:]]*//p' /proc/self/status)
  if [ -z "${COPILOT_SIGNALS_RESTORED:-}" ] && ((0x$mask & 2)); then
    COPILOT_SIGNALS_RESTORED=yes exec env --default-signal=INT "$@"
  fi
}

# Thousands of open streams need descriptors; an unbounded limit makes Erlang reserve memory for all.
raise_file_limit() {
  local hard
  hard=$(ulimit -Hn)
  if [ "$hard" = unlimited ] || [ "$hard" -gt 65536 ]; then hard=65536; fi
  ulimit -Sn "$hard"
}
