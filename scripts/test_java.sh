#!/usr/bin/env bash
# Builds and tests the Java SDK and its workers. Tests that need a SEC run where there is one to start: SAGALINE_COMMAND, or
# that of .venv. What needs a PostgreSQL is skipped here: tests/integration/java_sdk starts one.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

for tool in java mvn; do
  if ! command -v "$tool" >/dev/null; then
    echo "NOT TESTED: sdk/java and workers/java, for there is no $tool on this machine" >&2
    exit 0
  fi
done
if [ -z "${SAGALINE_COMMAND:-}" ] && [ -x .venv/bin/sagaline ]; then
  SAGALINE_COMMAND="$PWD/.venv/bin/sagaline"
fi
if [ -n "${SAGALINE_COMMAND:-}" ]; then
  export SAGALINE_COMMAND
else
  echo "NOT TESTED: the Java SDK against a real SEC, for there is no .venv: make setup" >&2
fi
cd sdk/java
mvn -q -B package
