#!/usr/bin/env bash
# Prints the path of an etcd binary, and gets one where there is none. All it gets stays in .tools/; no service is
# started, nothing is installed on the system. The first that works:
#   1. SAGALINE_ETCD, where it is set;
#   2. etcd on PATH, or what an earlier run left in .tools/;
#   3. Debian's package etcd-server, unpacked (where apt-get is; refreshing its lists needs root);
#   4. a build of the pinned release from the Go module proxy (where go is; a minute or so).
# Exit 3: none of them worked, and the message says why. `ensure_etcd.sh apt` or `ensure_etcd.sh go` tries that way only.
set -euo pipefail

ETCD_GO_VERSION=v3.7.3
ETCD_GO_MODULE=go.etcd.io/etcd/server/v3

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
tools=${SAGALINE_TOOLS:-$root/.tools}
debian=$tools/etcd-debian/usr/bin/etcd
built=$tools/etcd-$ETCD_GO_VERSION/etcd

say() { echo "ensure_etcd: $*" >&2; }

works() { [ -x "$1" ] && "$1" --version >/dev/null 2>&1; }

# dpkg -x, not `apt-get install`: installing would start a system service and need root for the whole of it.
from_apt() {
  command -v apt-get >/dev/null && command -v dpkg >/dev/null || { say "no apt-get here"; return 1; }
  local folder status=0
  folder=$(mktemp -d)
  chmod 755 "$folder"
  download_deb "$folder" && dpkg -x "$folder"/etcd-server_*.deb "$tools/etcd-debian" && works "$debian" || status=1
  rm -rf "$folder"
  [ "$status" = 0 ] || { say "Debian's etcd-server could not be had"; return 1; }
  echo "$debian"
}

download_deb() (
  cd "$1"
  say "downloading Debian's package etcd-server"
  apt-get -qq download etcd-server >&2 2>/dev/null && exit 0
  [ "$(id -u)" = 0 ] || { say "apt-get knows no etcd-server, and refreshing its lists needs root"; exit 1; }
  apt-get -qq -o DPkg::Lock::Timeout=120 update >&2 && apt-get -qq download etcd-server >&2
)

# Not `go install module@version`: it refuses a module with replace directives. A throw-away module that requires the
# pinned version builds the same thing; the sums are checked against Go's checksum database.
from_go() {
  command -v go >/dev/null || { say "no go here"; return 1; }
  local folder status=0
  folder=$(mktemp -d)
  say "building $ETCD_GO_MODULE $ETCD_GO_VERSION, a minute or so"
  build_etcd "$folder" >&2 || status=1
  rm -rf "$folder"
  [ "$status" = 0 ] && works "$built" || { say "the Go build failed"; return 1; }
  echo "$built"
}

build_etcd() (
  cd "$1"
  go mod init etcd-build && go get "$ETCD_GO_MODULE@$ETCD_GO_VERSION" || exit 1
  CGO_ENABLED=0 go build -trimpath -o "$built" "$ETCD_GO_MODULE"
) 2>"$tools/etcd-build.log"

present() {
  if [ -n "${SAGALINE_ETCD:-}" ]; then
    works "$SAGALINE_ETCD" || { say "SAGALINE_ETCD names $SAGALINE_ETCD, which does not run"; exit 3; }
    echo "$SAGALINE_ETCD"
    return
  fi
  local candidate
  for candidate in "$(command -v etcd || true)" "$debian" "$built"; do
    if works "$candidate"; then echo "$candidate"; return; fi
  done
  return 1
}

mkdir -p "$tools"
case "${1:-any}" in
  apt) from_apt || exit 3 ;;
  go) from_go || exit 3 ;;
  any)
    present && exit 0
    exec 9>"$tools/etcd.lock"
    if command -v flock >/dev/null; then flock 9; fi # of two at once, the second finds what the first got
    present || from_apt || from_go || {
      say "no etcd: put one on PATH, or name it in SAGALINE_ETCD, or run this where apt-get or go can get it."
      say "Everything that needs no etcd: .venv/bin/pytest -m 'not etcd'"
      exit 3
    }
    ;;
  *) say "usage: ensure_etcd.sh [apt|go]"; exit 2 ;;
esac
