#!/usr/bin/env bash
# Format, vet and tests of all Go modules, with the race detector where there is a C compiler for it. What needs a SEC is
# skipped here: tests/integration/go_sdk starts one.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if ! command -v go >/dev/null; then
  echo "NOT TESTED: sdk/go and workers/go, for there is no Go on this machine" >&2
  exit 0
fi
race=()
if command -v "$(go env CC)" >/dev/null && [ "$(go env CGO_ENABLED)" = 1 ]; then
  race=(-race)
else
  echo "NOT TESTED: races, for there is no C compiler on this machine" >&2
fi
for module in sdk/go sdk/go/barrier/sqlitetest workers/go; do
  [ -f "$module/go.mod" ] || continue
  unformatted=$(gofmt -l "$module" | grep -v '^sdk/go/sagaline/v1/' || true)
  if [ -n "$unformatted" ]; then
    echo "not formatted, run gofmt -w: $unformatted" >&2
    exit 1
  fi
  watched=("${race[@]}")
  if [ "$module" = sdk/go/barrier/sqlitetest ]; then
    watched=() # to compile SQLite once more takes minutes, and it is the database that is raced for there
  fi
  (cd "$module" && go vet ./... && go test "${watched[@]}" -timeout=300s ./...)
done
