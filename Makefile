PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 8080
R4 := hl7.fhir.r4.examples@4.0.1
CLIENTS := fhir-kit-client@2 fhirclient@2 playwright-core@1 axe-core@4

.DEFAULT_GOAL := help
.PHONY: help run serve test check bench bench-growth fuzz fuzz-access crash clients examples clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 14

$(VENV)/.run: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.test: $(VENV)/.run
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,check]'
	@touch $@

run: $(VENV)/.run  ## set up and start the demo record on http://127.0.0.1:$PORT
	FHIR_SERVER_PORT=$(PORT) $(BIN)/fhir-server demo

serve: $(VENV)/.run  ## start the server on its own store (FHIR_SERVER_STORE)
	FHIR_SERVER_PORT=$(PORT) $(BIN)/fhir-server serve

test: $(VENV)/.test  ## run every test
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile

check: $(VENV)/.test  ## lint, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.test  ## measure, as ratios to a calibration server of the same run
	$(BIN)/python -m benchmarks

bench-growth: $(VENV)/.test  ## how figures change from 100,000 resources to 1,000,000 (a quarter of an hour, 5 GB in .cache)
	$(BIN)/python -m benchmarks --growth 100000 1000000

fuzz: $(VENV)/.test  ## 50,000 malformed requests: no 500, no change of state
	$(BIN)/python -m tests.fuzz --requests 50000

fuzz-access: $(VENV)/.test  ## random acts of ten people in thousands of records, against a naive model of who sees what
	ACCESS_EXAMPLES=1000 ACCESS_STEPS=100 ACCESS_SHRINK=1 $(BIN)/python -m pytest tests/scenarios/test_state_machine.py

crash: $(VENV)/.test  ## kill the store in the middle of writing, many times
	CRASH_ROUNDS=500 $(BIN)/python -m pytest tests/storage/test_sqlite_crash.py

clients: .cache/clients/.fetched  ## fetch the JavaScript clients that acceptance tests drive the server with (npm)

.cache/clients/.fetched: Makefile
	mkdir -p .cache/clients
	cd .cache/clients && npm install --silent --no-fund --no-audit --no-package-lock --omit=optional --omit=peer $(CLIENTS)
	@touch $@

examples: .cache/r4/package/package.json  ## fetch the official R4 examples that the tests validate (npm)

.cache/r4/package/package.json:
	mkdir -p .cache/r4
	cd .cache/r4 && npm pack --silent $(R4) && tar xzf hl7.fhir.r4.examples-4.0.1.tgz
	@touch $@

clean:  ## remove what the targets above made
	rm -rf $(VENV) .cache .demo .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
