#!/usr/bin/env bash
# Format, lint, types and tests of the TypeScript SDK and worker. Tests that need a SEC run where there is one to start:
# SAGALINE_COMMAND, or that of .venv.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
  echo "NOT TESTED: sdk/typescript and workers/typescript, for there is no Node on this machine" >&2
  exit 0
fi
python3 scripts/ts_protos.py
if [ -z "${SAGALINE_COMMAND:-}" ] && [ -x .venv/bin/sagaline ]; then
  SAGALINE_COMMAND="$PWD/.venv/bin/sagaline"
fi
if [ -n "${SAGALINE_COMMAND:-}" ]; then
  export SAGALINE_COMMAND
else
  echo "NOT TESTED: the TypeScript SDK against a real SEC, for there is no .venv: make setup" >&2
fi
cd sdk/typescript
npm run --silent check
npm run --silent test
