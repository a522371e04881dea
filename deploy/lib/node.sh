# shellcheck shell=bash
# Node for the playground and the tests of clients and browsers: the one that is here if it is new enough, else one from npm's registry.
# A bare Debian 12 has none, and its own is too old for the released clients; but its npm can fetch a
# newer one, as a package like any other.

# What is fetched. Both are packages of npm's registry, so no other address need be reached.
NODE_VERSION=22.23.3
NPM_VERSION=10.9.9
WITHOUT_NODE='COPILOT_SKIP_WEB=1 for the playground, COPILOT_SKIP_CLIENTS=1 and COPILOT_SKIP_BROWSER=1 for tests'

# Puts a Node that fits and an npm in the PATH, or says in one sentence what to install.
ensure_node() {
  if node_fits; then return; fi
  local dir=$ROOT/.data/node-$NODE_VERSION
  if [ ! -x "$dir/bin/node" ]; then fetch_node "$dir"; fi
  PATH=$dir/bin:$PATH
  node_fits || die "the Node of $dir does not run here: install Node 22 and npm, or leave out what needs them ($WITHOUT_NODE)"
}

node_fits() { command -v npm >/dev/null && node_is_new_enough "$(node --version 2>/dev/null)"; }

# As the strictest of the tools asks (Redocly): 20.19, or 22.12, or newer.
node_is_new_enough() { # vMAJOR.MINOR.PATCH
  local major minor
  IFS=. read -r major minor _ <<<"${1#v}"
  case $major in
    '' | *[!0-9]*) return 1 ;;
    20) [ "$minor" -ge 19 ] ;;
    22) [ "$minor" -ge 12 ] ;;
    *) [ "$major" -gt 22 ] ;;
  esac
}

fetch_node() { # DIR
  local dir=$1 log=$LOG_DIR/node.log machine
  machine=$(node_machine) || die "npm's registry has no Node for $(uname -m): install Node 22 and npm, or leave out what needs them ($WITHOUT_NODE)"
  if ! command -v npm >/dev/null; then
    can_install || die "Node 22 and npm are missing: install them, or leave out what needs them ($WITHOUT_NODE)"
    install_packages npm
  fi
  step "Fetching Node $NODE_VERSION with npm (log: $log)"
  rm -rf "$dir"
  mkdir -p "$dir/bin"
  if ! run_interruptible npm install --prefix "$dir" --no-audit --no-fund --ignore-scripts \
    "node-$machine@$NODE_VERSION" "npm@$NPM_VERSION" >>"$log" 2>&1; then
    tail -n 15 "$log" >&2
    die "npm could not fetch Node $NODE_VERSION; its last lines are above"
  fi
  ln -s ../node_modules/npm/bin/npm-cli.js "$dir/bin/npm"
  # Last: what stands here is complete.
  ln -s "../node_modules/node-$machine/bin/node" "$dir/bin/node"
}

# As Node's makers call this machine.
node_machine() {
  case $(uname -m) in
    x86_64) printf 'linux-x64' ;;
    aarch64) printf 'linux-arm64' ;;
    *) return 1 ;;
  esac
}
