#!/bin/sh
# Runs a file of this repository with the pinned Bun, after installing whatever is missing:
#
#   sh appliance/with-bun.sh src/main.ts demo
#
# Needs Node >= 20 with npm, or any Bun. Runs in the repository's root, because Bun reads
# bunfig.toml from the working directory. Everything said here goes to stderr: stdout belongs
# to the program that is run, whose caller may be parsing it.
set -eu

# No progress for this long means that the other installation hangs, not that it is slow.
install_wait_seconds=600
node_major_min=20

say() { printf 'spendra: %s\n' "$*" >&2; }
fail() {
  say "$*"
  exit 1
}

cd "$(dirname "$0")/.."
root=$(pwd -P)
stamp=node_modules/.install-stamp
lock=.install-lock
bun_version=$(sed -n 's/^ *"bun": "\([0-9.]*\)".*/\1/p' package.json)

# A copied clone may carry the dependencies of another platform, hence uname.
wanted_stamp() { printf '%s %s\n' "$(cksum <package-lock.json)" "$(uname -sm)"; }

installed() {
  [ "$(cat "$stamp" 2>/dev/null)" = "$(wanted_stamp)" ] && return 0
  # Somebody ran npm by hand: npm writes this file last, so a newer one means a complete install.
  [ -n "$(find node_modules/.package-lock.json -newer package-lock.json 2>/dev/null)" ]
}

# Prints the pinned Bun. Its npm package moves the program out of @oven/bun-<platform> in an
# install script; where install scripts do not run, it is still there.
find_bun() {
  for candidate in node_modules/bun/bin/bun.exe node_modules/@oven/bun-*/bin/bun \
    "$(command -v bun || true)"; do
    [ -f "$candidate" ] && [ -x "$candidate" ] || continue
    if [ "$("$candidate" --version 2>/dev/null)" = "$bun_version" ]; then
      printf '%s\n' "$candidate"
      return 0
    fi
  done
  return 1
}

node_major() { node -p 'process.versions.node.split(".")[0]' 2>/dev/null || echo 0; }

choose_installer() {
  if command -v node >/dev/null && command -v npm >/dev/null; then
    [ "$(node_major)" -ge "$node_major_min" ] && echo npm && return
  fi
  command -v bun >/dev/null && echo bun && return
  command -v node >/dev/null && command -v npm >/dev/null &&
    fail "Node $(node --version) is too old. Install Node $node_major_min or newer, or Bun."
  fail "neither npm nor Bun was found. Install Node $node_major_min or newer, or Bun."
}

# npm and Bun keep caches in the home directory, and some accounts have none.
give_home() {
  if [ -n "${HOME:-}" ] && mkdir -p "$HOME" 2>/dev/null && [ -w "$HOME" ]; then return; fi
  HOME="$root/$lock/home"
  npm_config_cache="$HOME/.npm"
  export HOME npm_config_cache
}

install_dependencies() {
  installer=$(choose_installer)
  say "installing dependencies with $installer (once)..."
  if [ "$installer" = npm ]; then
    # --no-save: follow package-lock.json and leave it alone, as "npm ci" does, but mend
    # node_modules in place: "npm ci" would delete it under a program that is running.
    # --include: NODE_ENV=production or a user's own "omit" must not leave anything out.
    (give_home && npm install --no-save --include=dev --include=optional --no-audit --no-fund \
      --loglevel=error >&2) || fail "npm install failed; the reason is above."
  else
    (give_home && bun install --frozen-lockfile --silent >&2) ||
      fail "bun install failed; the reason is above."
  fi
  wanted_stamp >"$stamp"
}

# A directory is the one thing that POSIX makes atomically. A lock whose owner is gone (killed
# in the middle) is taken over; the installation then starts from the beginning.
take_lock() {
  waited=0
  until mkdir "$lock" 2>/dev/null; do
    [ -d "$lock" ] || fail "cannot write to $root. Run once as its owner, to install."
    owner=$(cat "$lock/pid" 2>/dev/null || true)
    if [ -n "$owner" ] && ! kill -0 "$owner" 2>/dev/null && [ ! -d "/proc/$owner" ]; then
      rm -rf "$lock"
      continue
    fi
    [ "$waited" -gt 0 ] || say "waiting for another installation (process ${owner:-unknown})..."
    [ "$waited" -lt "$install_wait_seconds" ] || fail "still locked. Remove $root/$lock."
    sleep 1
    waited=$((waited + 1))
  done
  trap 'rm -rf "$root/$lock"' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  echo $$ >"$lock/pid"
}

release_lock() {
  rm -rf "$lock"
  trap - EXIT INT TERM HUP
}

if ! installed; then
  take_lock
  # Whoever held the lock may just have done it.
  installed || install_dependencies
  release_lock
fi

bun=$(find_bun) || fail "Bun $bun_version does not run here. Remove $root/node_modules and try" \
  "again. It needs glibc 2.17 or macOS 13, and on x86-64 a processor with SSE4.2."
# The database driver has faults that end or wedge a node; see the file.
head -n 1 node_modules/postgres/src/index.js | grep -q 'Mended by Spendra' ||
  "$bun" appliance/patch-driver.ts || fail "the database driver could not be mended."
# Bun makes 256 requests at once unless told otherwise, and only before it starts.
BUN_CONFIG_MAX_HTTP_REQUESTS=${BUN_CONFIG_MAX_HTTP_REQUESTS:-65535}
export BUN_CONFIG_MAX_HTTP_REQUESTS
exec "$bun" "$@"
