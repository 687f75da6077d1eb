# Every verb of the project. `make help` lists them; each does the set-up that it needs.

SHELL := /bin/sh
PYTHON := .venv/bin/python
PYTEST := $(PYTHON) -m pytest
# Tests wait for servers as much as they compute: two processes a core on small machines; JOBS=0 runs them one by one.
JOBS ?= 4
ALL := -n $(JOBS) --dist loadscope --no-loadscope-reorder
SOURCE ?= postgres
MINUTES ?= 10
SEED ?= 1
PAIR ?= postgres18-mysql
ARGS ?=

# Bytecode is kept, whatever is set outside: hundreds of processes import the same modules in the tests.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help setup servers test test-pairs test-long test-unit test-suite test-faults soak lint format demo up bench bench-api clean

help: ## list the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

setup: ## virtual environment, pinned packages, compiled codecs (quick when nothing changed)
	@sh scripts/setup.sh

servers: setup ## the database servers of the tests: MariaDB by apt, MySQL unpacked privately, PostgreSQL, stand-ins for Snowflake, Databricks, Firebolt, BigQuery and Oracle
	@sh scripts/servers.sh

test: servers ## everything but test-pairs and test-long: unit, suite on a diagonal of pairs, API, faults, replay
	@$(PYTEST) $(ALL) $(ARGS)

test-pairs: servers ## the suite, the faults, validation, PostgreSQL's own tests and the demo on every pair of servers
	@$(PYTEST) tests/suite tests/faults tests/demo tests/unit/validation tests/unit/postgres $(ALL) -m "not long" $(ARGS)

test-long: servers ## what does not fit into the time of `make test`: long sweeps and whole character sets
	@$(PYTEST) $(ALL) -m long --timeout 3600 $(ARGS)

test-unit: setup ## the tests that need no server (a few seconds)
	@$(PYTEST) tests/unit -m "not server and not long and not pairs" $(ARGS)

test-suite: servers ## the suite on its diagonal: every engine as source and as target
	@$(PYTEST) tests/suite $(ALL) $(ARGS)

test-faults: servers ## kills, restarts and cuts in every phase
	@$(PYTEST) tests/faults $(ALL) $(ARGS)

soak: servers ## mixed writes and a fault every half minute, then equality (MINUTES=10 SEED=1 PAIR=postgres18-mysql)
	@$(PYTHON) -m tests.soak --minutes "$(MINUTES)" --seed "$(SEED)" --pair "$(PAIR)" $(ARGS)

lint: setup ## ruff and mypy --strict
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check .
	@$(PYTHON) -m mypy

format: setup ## let ruff format and sort
	@$(PYTHON) -m ruff check --fix --select I .
	@$(PYTHON) -m ruff format .

demo: setup ## move a shop database while it is written to, and prove it equal (SOURCE=postgres|mariadb|mysql)
	@SOURCE="$(SOURCE)" sh scripts/servers.sh --for-demo
	@$(PYTHON) -m demo --source "$(SOURCE)" $(ARGS)

up: setup ## Temporal, API and worker on this machine, until Ctrl-C
	@$(PYTHON) -m whimbrel.cli.main up $(ARGS)

bench: servers ## the demo's main job five times over, without faults; raw results in benchmarks/results/
	@$(PYTHON) -m demo.bench --source "$(SOURCE)" $(ARGS)

bench-api: servers ## latency of GET .../status beside a data load with 20 pollers; raw results in benchmarks/results/
	@$(PYTHON) -m benchmarks.api $(ARGS)

clean: ## remove what make built: environment, caches, fetched servers, compiled codecs
	@rm -rf .venv .cache .servers build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@rm -f whimbrel/codecs/*.so
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
