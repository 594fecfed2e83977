SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PEERS := benchmarks/.venv
INSTALL = $(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes --requirement
# Tests that share a server stay together in one worker, in the order of tests/conftest.py.
WORKERS ?= 2

.PHONY: help demo test soak crash fuzz check fix lock bench

help: ## list these targets
	@sed -nE 's/^([a-z]+):.*## (.*)/make \1|\2/p' Makefile | while IFS='|' read -r target text; do printf '  %-12s %s\n' "$$target" "$$text"; done

demo: $(VENV)/.run ## install, and serve the portal on its sandbox at http://localhost:8501
	TFPILOT_SANDBOX=1 $(BIN)/streamlit run app.py

test: $(VENV)/.dev ## install with Chromium, and run every test
	tools/chromium.sh $(BIN)/playwright
	$(BIN)/pytest -n $(WORKERS) --dist loadscope --no-loadscope-reorder -m "not browser and not live"
	$(BIN)/pytest -m browser

soak: $(VENV)/.dev ## the storm of 5,000 webhooks, which takes minutes
	TFPILOT_STORM_REQUESTS=280 $(BIN)/pytest tests/doors/test_webhook_storm.py

crash: $(VENV)/.dev ## kill a reset at every write of it, which takes half an hour
	TFPILOT_CRASH_EVERYTHING=1 $(BIN)/pytest tests/reality/test_crash.py

fuzz: $(VENV)/.dev ## five times as many hostile inputs as the tests have, and new ones each time
	TFPILOT_FUZZ_CASES=5 $(BIN)/pytest tests/fuzz

check: $(VENV)/.dev ## lint, types, layers, and locks against requirements
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	tools/locks.sh check $(BIN)/uv

fix: $(VENV)/.dev ## correct what the linter can, and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(VENV)/.dev ## write the locks from the requirements, keeping pins that still fit
	tools/locks.sh write $(BIN)/uv

bench: $(VENV)/.run $(PEERS)/.peers ## measure the portal beside its peers
	for script in benchmarks/bench_*.py; do PYTHONPATH=. PATH="$(CURDIR)/$(PEERS)/bin:$$PATH" $(BIN)/python "$$script"; done

$(BIN)/pip:
	tools/venv.sh $(PYTHON) $(VENV)

# pip takes minutes for what uv does in seconds, and checks the same hashes.
$(BIN)/uv: | $(BIN)/pip
	$(BIN)/pip install --quiet --no-deps --require-hashes --requirement <(sed -n '/^uv==/,/[^\\]$$/p' requirements-dev.lock)

$(VENV)/.run: requirements.lock | $(BIN)/uv
	$(INSTALL) requirements.lock
	touch $@

# This lock holds everything that requirements.lock does, in the same versions.
$(VENV)/.dev: requirements-dev.lock | $(BIN)/uv
	$(INSTALL) requirements-dev.lock
	touch $@ $(VENV)/.run

$(PEERS)/.peers: benchmarks/requirements.txt
	tools/venv.sh $(PYTHON) $(PEERS)
	$(PEERS)/bin/pip install --quiet --requirement benchmarks/requirements.txt
	touch $@
