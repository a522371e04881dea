# shellcheck shell=bash
# shellcheck disable=SC2034 # AS_OWNER is for the files of the servers
# Where private servers keep their files, and as whom they run.
#
# Started by root they run as the accounts of their packages (PostgreSQL refuses root), started by an
# ordinary user as that user. Once made, a server's directory decides: it always runs as the directory's owner.

# Creates DATA_DIR/servers. If the accounts cannot enter it (a clone under /root), the files live
# in /var/lib and DATA_DIR/servers is a link, which lasts as long as the clone does.
prepare_servers_dir() { # ACCOUNT…
  local link=$DATA_DIR/servers
  if [ -L "$link" ] && ! adopt_link "$link"; then rm "$link"; fi
  if ! accounts_can_enter "$DATA_DIR" "$@"; then
    [ -L "$link" ] || link_elsewhere "$link"
  else
    mkdir -p "$link"
  fi
  # The servers are told the real path: they could not follow the link either.
  SERVERS_DIR=$(readlink -f "$link")
}

accounts_can_enter() { # DIR ACCOUNT…
  local dir=$1 account
  shift
  [ "$(id -u)" = 0 ] || return 0
  for account in "$@"; do
    setpriv --reuid "$account" --regid "$account" --clear-groups -- test -x "$dir" || return 1
  done
}

# The directory behind a link names the data directory it serves. A copied clone leaves it to the
# original; a moved clone takes it along.
adopt_link() { # LINK
  local served
  served=$(cat "$1/served" 2>/dev/null) || return 1
  if [ "$served" != "$DATA_DIR" ] && [ -e "$served" ]; then return 1; fi
  printf '%s\n' "$DATA_DIR" >"$1/served"
}

link_elsewhere() { # LINK
  local store=/var/lib/copilot home served
  install -d -m 755 "$store"
  # A deleted clone cannot take its files along; the next one at the same path does it.
  for served in "$store"/*/served; do
    if [ "$(cat "$served" 2>/dev/null)" = "$DATA_DIR" ] && [ ! -e "${served%/*}/postgres/data/postmaster.pid" ]; then
      rm -rf "${served%/*}"
    fi
  done
  home=$(mktemp -d "$store/XXXXXXXX")
  chmod 755 "$home"
  printf '%s\n' "$DATA_DIR" >"$home/served"
  if [ -d "$1" ]; then
    cp -a "$1/." "$home/"
    rm -rf "$1"
  fi
  ln -s "$home" "$1"
  note "the servers' accounts cannot enter $DATA_DIR: their files are in $home"
}

# Creates SERVERS_DIR/NAME and sets AS_OWNER, the words that run a command as its owner.
prepare_home() { # NAME ACCOUNT
  local dir=$SERVERS_DIR/$1
  mkdir -p "$dir"
  if [ "$(id -u)" = 0 ] && [ "$(stat -c %u "$dir")" = 0 ]; then chown -R "$2:" "$dir"; fi
  use_owner "$dir"
  chmod 700 "$dir"
}

use_owner() { # DIR
  local uid gid
  AS_OWNER=()
  read -r uid gid < <(stat -c '%u %g' "$1")
  if [ "$(id -u)" = 0 ]; then
    AS_OWNER=(setpriv --reuid "$uid" --regid "$gid" --clear-groups --)
  elif [ "$(id -u)" != "$uid" ]; then
    die "$1 belongs to user $uid: run this as that user or as root, or remove $DATA_DIR"
  fi
}

# Writes standard input to a file that only the directory's owner can read.
write_private() { # FILE
  install -m 600 /dev/null "$1"
  cat >"$1"
  if [ "$(id -u)" = 0 ]; then chown --reference="$(dirname "$1")" "$1"; fi
}

# One password for all servers of a data directory: whoever shares the machine can reach the loopback.
server_secret() {
  local file=$SERVERS_DIR/secret
  if [ ! -s "$file" ]; then od -An -N16 -tx1 /dev/urandom | tr -d ' \n' | write_private "$file"; fi
  cat "$file"
}
