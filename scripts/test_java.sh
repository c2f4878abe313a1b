#!/usr/bin/env bash
# Builds and tests the Java SDK and its workers. What needs a PostgreSQL is skipped here: tests/integration/java_sdk starts one.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

for tool in java mvn; do
  if ! command -v "$tool" >/dev/null; then
    echo "NOT TESTED: sdk/java and workers/java, for there is no $tool on this machine" >&2
    exit 0
  fi
done
cd sdk/java
mvn -q -B package
