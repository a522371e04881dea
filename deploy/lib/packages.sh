# shellcheck shell=bash
# What must be installed: found where it is, installed with apt-get where that is allowed.

# Installers of Rust put it there without touching the PATH of shells that already run.
find_cargo() {
  local dir wanted
  for dir in "${CARGO_HOME:-$HOME/.cargo}/bin" /usr/local/cargo/bin; do
    command -v cargo >/dev/null && return
    if [ -x "$dir/cargo" ]; then PATH=$dir:$PATH; fi
  done
  command -v cargo >/dev/null && return
  wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$ROOT/Cargo.toml" | head -1)
  die "cargo is missing: install Rust ${wanted:-stable} or newer (https://rustup.rs) and run this again"
}

# A relative CARGO_TARGET_DIR means relative to where the command was called, but cargo runs in ROOT.
pin_target_dir() {
  case ${CARGO_TARGET_DIR:-/} in
    /*) ;;
    *) export CARGO_TARGET_DIR=$PWD/$CARGO_TARGET_DIR ;;
  esac
}

# Cargo knows best where it builds: the environment and its configuration files both have a say.
target_dir() {
  cargo metadata --format-version 1 --no-deps --manifest-path "$ROOT/Cargo.toml" |
    sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p'
}

# Installs the packages of what is missing, or says in one sentence what to install.
# Takes the names of the servers that must run privately here.
ensure_packages() { # SERVER…
  local needed=() wanted=() server
  command -v cc >/dev/null || needed+=(gcc libc6-dev)
  for server in "$@"; do
    case $server in
      postgres) postgres_bin >/dev/null || needed+=(postgresql) ;;
      redis) command -v redis-server >/dev/null || needed+=(redis-server) ;;
      rabbitmq) rabbitmq_bin >/dev/null || needed+=(rabbitmq-server) ;;
    esac
  done
  # The system runs without these, only less well: the shell tool's sandbox, and the printed example.
  command -v bwrap >/dev/null || wanted+=(bubblewrap)
  command -v curl >/dev/null || wanted+=(curl)

  if [ "${#needed[@]}" -gt 0 ]; then
    if ! can_install; then
      die "missing: ${needed[*]}; install with 'apt-get install ${needed[*]} ${wanted[*]}' as root, or start a Docker engine, or set DATABASE_URL, REDIS_URL and RABBITMQ_URL"
    fi
    install_packages "${needed[@]}" "${wanted[@]}"
  elif [ "${#wanted[@]}" -gt 0 ]; then
    if can_install; then install_packages "${wanted[@]}"; else note "not installed, so done without: ${wanted[*]}"; fi
  fi
}

can_install() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }

install_packages() { # PACKAGE…
  local log=$LOG_DIR/apt-get.log epmds
  step "Installing $* with apt-get (log: $log)"
  epmds=$(epmd_pids)
  run_apt "$log" update || note 'apt-get update failed: trying with the package lists that are here'
  if ! without_autostart run_apt "$log" install -y --no-install-recommends "$@"; then
    tail -n 15 "$log" >&2
    die "apt-get could not install $*; its last lines are above"
  fi
  keep_packages_idle "$@"
  end_new_epmds "$epmds"
}

run_apt() { # LOG ARGUMENTS…
  local log=$1
  shift
  DEBIAN_FRONTEND=noninteractive run_interruptible apt-get -o DPkg::Lock::Timeout=300 "$@" >>"$log" 2>&1
}

# A package starts its server on the standard port as soon as it is installed. Ours are private, so
# nothing shall listen there because of us.
without_autostart() { # COMMAND…
  local policy=/usr/sbin/policy-rc.d status=0
  if [ -e "$policy" ]; then
    "$@"
    return
  fi
  PLACED_POLICY=$policy
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
  "$@" || status=$?
  remove_policy
  return "$status"
}

remove_policy() {
  if [ -n "${PLACED_POLICY:-}" ]; then rm -f "$PLACED_POLICY"; fi
  PLACED_POLICY=
}

# The same at the next boot of the machine.
keep_packages_idle() { # PACKAGE…
  local package
  [ -d /run/systemd/system ] || return 0
  for package in "$@"; do
    case $package in
      postgresql | redis-server) systemctl disable --quiet "$package" ;;
      rabbitmq-server) systemctl disable --quiet rabbitmq-server epmd.socket ;;
    esac || note "systemd would start $package at the next boot; 'systemctl disable' failed"
  done
}

epmd_pids() {
  local comm
  for comm in /proc/[0-9]*/comm; do
    if [ "$(cat "$comm" 2>/dev/null)" = epmd ]; then basename "$(dirname "$comm")"; fi
  done
}

# Installing rabbitmq-server leaves an epmd on all interfaces behind. Only one that was not there
# before is ours to end.
end_new_epmds() { # PIDS-BEFORE
  local pid
  for pid in $(epmd_pids); do
    grep -qx "$pid" <<<"$1" || kill "$pid"
  done
}
