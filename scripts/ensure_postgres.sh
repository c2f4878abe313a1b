#!/usr/bin/env bash
# Prints the folder of a PostgreSQL server's programs, initdb and postgres, and gets them where there are none. All it
# gets stays in .tools/; no service is started, nothing is installed on the system. The first that works:
#   1. SAGALINE_POSTGRES, where it is set: such a folder;
#   2. the one on PATH, Debian's newest in /usr/lib/postgresql, or what an earlier run left in .tools/;
#   3. Debian's package postgresql with the libraries that are missing, unpacked (where apt-get is; needs root).
# Exit 3: none of them worked, and the message says why. `ensure_postgres.sh apt` tries the last way only.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
tools=${SAGALINE_TOOLS:-$root/.tools}
debian=$tools/postgres-debian

say() { echo "ensure_postgres: $*" >&2; }

works() { "$1/initdb" --version >/dev/null 2>&1 && "$1/postgres" --version >/dev/null 2>&1; }

# Not `apt-get install`: that would make a cluster and start a service.
from_apt() {
  command -v apt-get >/dev/null && command -v dpkg >/dev/null || { say "no apt-get here"; return 1; }
  local folder status=0
  folder=$(mktemp -d)
  chmod 755 "$folder"
  mkdir "$folder/partial"
  download_debs "$folder" && unpack "$folder" && works "$debian/bin" || status=1
  rm -rf "$folder"
  [ "$status" = 0 ] || { say "Debian's postgresql could not be had"; return 1; }
  echo "$debian/bin"
}

# With everything it depends on that the system lacks.
download_debs() {
  [ "$(id -u)" = 0 ] || { say "apt-get can only tell root what is missing"; return 1; }
  say "downloading Debian's package postgresql"
  local get=(apt-get -qq -y -o DPkg::Lock::Timeout=120 -o Dir::Cache::archives="$1")
  local packages=(install --download-only --no-install-recommends postgresql)
  "${get[@]}" "${packages[@]}" >&2 2>/dev/null && ls "$1"/*.deb >/dev/null 2>&1 && return
  "${get[@]}" update >&2 && "${get[@]}" "${packages[@]}" >&2
}

unpack() {
  rm -rf "$debian"
  mkdir -p "$debian/bin"
  local deb
  for deb in "$1"/*.deb; do
    case ${deb##*/} in
      libllvm* | libz3*) ;; # the compiler of queries: large, and the server does without
      *) dpkg -x "$deb" "$debian" ;;
    esac
  done
  for program in initdb postgres; do write_wrapper "$program"; done
}

# The server finds its own files beside itself; only the libraries have to be pointed out.
write_wrapper() {
  cat >"$debian/bin/$1" <<'WRAPPER'
#!/bin/sh
here=$(cd "$(dirname "$0")/.." && pwd)
for folder in "$here"/usr/lib/*-linux-gnu* "$here"/lib/*-linux-gnu*; do
  [ -d "$folder" ] && LD_LIBRARY_PATH=$folder${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
done
export LD_LIBRARY_PATH
exec "$here"/usr/lib/postgresql/*/bin/"$(basename "$0")" "$@"
WRAPPER
  chmod 755 "$debian/bin/$1"
}

present() {
  if [ -n "${SAGALINE_POSTGRES:-}" ]; then
    works "$SAGALINE_POSTGRES" || { say "SAGALINE_POSTGRES names $SAGALINE_POSTGRES, where none runs"; exit 3; }
    echo "$SAGALINE_POSTGRES"
    return
  fi
  local candidate
  for candidate in "$(on_path)" $(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -Vr) "$debian/bin"; do
    if works "$candidate"; then echo "$candidate"; return; fi
  done
  return 1
}

on_path() {
  local initdb
  initdb=$(command -v initdb) && dirname "$(readlink -f "$initdb")"
}

mkdir -p "$tools"
case "${1:-any}" in
  apt) from_apt || exit 3 ;;
  any)
    present && exit 0
    exec 9>"$tools/postgres.lock"
    if command -v flock >/dev/null; then flock 9; fi # of two at once, the second finds what the first got
    present || from_apt || {
      say "no PostgreSQL: put initdb on PATH, or name its folder in SAGALINE_POSTGRES, or run this as root where apt-get is."
      say "Everything that needs none: .venv/bin/pytest -m 'not postgres'"
      exit 3
    }
    ;;
  *) say "usage: ensure_postgres.sh [apt]"; exit 2 ;;
esac
