# shellcheck shell=bash
# What the commands tell their reader: one line a step, one sentence for a failure.

step() { printf '==> %s\n' "$*"; }

note() { printf '    %s\n' "$*"; }

die() {
  printf 'deploy: %s\n' "$*" >&2
  exit 1
}

# The header of a script is its help: everything from line 2 to the first line that is no comment.
show_help() { # SCRIPT
  sed -n '2,/^[^#]/{/^#/!d;s/^# \{0,1\}//;p}' "$1"
}
