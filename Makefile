# A table of contents: what a target does stands in the script it calls. Variables to set on the command line:
#   PYTHON=python3.12   what .venv is made with        PYTEST_ARGS='-k gate -x'   what pytest gets besides
#   ONLY=linear3        figures of the benchmark       BENCH=--thorough, BENCH='--help'   what it gets besides
#   PROFILE='--store sqlite'   what the profile gets   DEMO=--fast                what the demonstration gets
#   DEV='--listen 127.0.0.1:7433'   what `sagaline dev` gets
#   SEEDS=200 JOBS=2, SEED=7, MUTANT=name, MUTANTS=list       of `make simulate`   SIMULATE='--help'    what else it gets
#   LANG=go|typescript|java|python|all     of `make conformance` and `make bench`
#   RUNS=4 SEED=1       runs of `make failover`, and the seed of the first        FAILOVER='--help'    what else it gets

PYTHON ?= python3
BIN := .venv/bin
WITH_ETCD := SAGALINE_ETCD=$$(scripts/ensure_etcd.sh) || exit 3; export SAGALINE_ETCD;
# LANG is also the locale of the environment: only what is given on make's command line counts.
LANGUAGE := $(if $(filter command line,$(origin LANG)),$(LANG))
ifneq ($(LANGUAGE),)
# The programs that are started take LANG for their locale, and Node crashes on one like go,typescript,java.
override LANG := C.UTF-8
export LANG
endif
# Held to the kit in `make ci`; Python is by its tests. Each one that has its worker in main.
CI_LANGUAGES := go,typescript,java
CODE := sdk/python server workers/python scripts tests

.DEFAULT_GOAL := help
.PHONY: demo-polyglot help setup upgrade protos check-protos fmt lint arch types test test-go test-typescript test-java ci demo dev bench bench-peers profile simulate failover conformance clean
.NOTPARALLEL:

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## make .venv and install everything into it, where anything changed
	@$(PYTHON) scripts/setup_env.py

upgrade: ## resolve all dependencies anew and rewrite constraints.txt
	@$(PYTHON) scripts/setup_env.py --upgrade

protos: setup ## regenerate sagaline/v1 from protos/
	@$(BIN)/python scripts/gen_protos.py

check-protos: setup ## regenerate elsewhere and demand no difference; buf lint, format, breaking
	@$(BIN)/python scripts/gen_protos.py --check

fmt: setup ## format code and protos, and sort imports
	@$(BIN)/ruff check --quiet --fix-only $(CODE)
	@$(BIN)/ruff format $(CODE)
	@$(BIN)/buf format -w

lint: setup ## ruff and codespell
	@$(BIN)/ruff check $(CODE)
	@$(BIN)/ruff format --check $(CODE)
	@$(BIN)/codespell

arch: setup ## import-linter: which package may import which
	@$(BIN)/lint-imports --no-logo

types: setup ## mypy (strict) on everything, pyright on the SDK
	@$(BIN)/mypy
	@$(BIN)/pyright

test: setup ## every test; needs a real etcd, and gets one
	@$(WITH_ETCD) $(BIN)/pytest $(PYTEST_ARGS)

test-go: ## format, vet and tests of the Go SDK and worker, with the race detector; the rest needs none of it
	@scripts/test_go.sh

test-typescript: ## format, lint, types and tests of the TypeScript SDK and worker; the rest needs none of it
	@scripts/test_typescript.sh

test-java: ## build and tests of the Java SDK and workers; the rest needs none of it
	@scripts/test_java.sh

ci: check-protos lint arch types test test-go test-typescript test-java ## all that CI runs, the demonstrations at the end included
	@$(MAKE) --no-print-directory conformance LANG=$(CI_LANGUAGES)
	@$(MAKE) --no-print-directory demo-polyglot
	@$(MAKE) --no-print-directory demo DEMO=--fast

demo: setup ## real sagas that run, fail, unwind, get stuck and are resolved, over a SEC that is killed
	@$(WITH_ETCD) $(BIN)/python scripts/demo.py $(DEMO)

demo-polyglot: setup ## one saga in four languages, each on its own database; two SECs, and a worker that is killed
	@$(WITH_ETCD) $(BIN)/python -m tests.polyglot $(DEMO)

dev: setup ## a SEC on SQLite in this terminal
	@$(BIN)/sagaline dev $(DEV)

bench: setup ## every figure of docs/performance.md beside its target; LANG=all: the languages instead
	@$(WITH_ETCD) $(BIN)/python -m tests.bench$(if $(LANGUAGE),.languages --language $(LANGUAGE),$(if $(ONLY), --only $(ONLY))) $(BENCH)

bench-peers: setup ## the same work on Restate, DBOS and Temporal, as far as they can be had; PEERS='--only restate'
	@$(WITH_ETCD) $(BIN)/python -m tests.bench.peers $(PEERS)

profile: setup ## where the SEC's and the worker's time goes, by function
	@$(WITH_ETCD) $(BIN)/python -m tests.bench.profiling $(PROFILE)

simulate: setup ## crashes, partitions, pauses and unknown outcomes, by seed
	@$(BIN)/python -m tests.simulation $(SIMULATE) $(if $(SEEDS),--seeds $(SEEDS)) $(if $(SEED),--seed $(SEED)) \
		$(if $(MUTANT),--mutant $(MUTANT)) $(if $(MUTANTS),--mutants $(MUTANTS)) $(if $(JOBS),--jobs $(JOBS))

failover: setup ## real processes: crashes at every point, seeded schedules of faults, and what they cost
	@$(WITH_ETCD) $(BIN)/python -m tests.failover $(if $(RUNS),--runs $(RUNS)) $(if $(SEED),--seed $(SEED)) $(FAILOVER)

conformance: setup ## every language's worker behaves alike; LANG=all unless it is one of them
	@$(BIN)/python -m sagaline_conformance --language $(or $(LANGUAGE),all) $(CONFORMANCE)

clean: ## remove what these targets made, .venv included
	@rm -rf .venv .tools .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage*
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
