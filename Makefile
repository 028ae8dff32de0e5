# Two commands set MLIoT up: `make demo` and `make test`. Each prepares the virtual environment it needs.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
# the stack is some twenty processes of the same packages: without bytecode each start costs twice the time
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test fuzz simulate faults bench lint types check lock jars-lock clean

help:            ## What can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

demo: $(READY)   ## The whole platform on this machine, with a live table; ONCE=1: one whole chain, then stop
	$(BIN)/mliot demo $(if $(ONCE),--once)

test: $(READY)   ## Every test; servers are started on free ports and stopped again
	$(BIN)/pytest -n 2 --dist loadfile --durations 15

fuzz: $(READY)   ## A million hostile inputs through every service (FRAMES=, SEED=); CHUNK=: one chunk again
	$(BIN)/python -m tests.fuzz $(if $(FRAMES),--frames $(FRAMES)) $(if $(SEED),--seed $(SEED)) $(if $(CHUNK),--chunk $(CHUNK))

simulate: $(READY)  ## The whole platform simulated under faults, SEEDS=1000 of them, judged by an independent checker
	$(BIN)/python -m tests.simulation --seeds $(or $(SEEDS),1000)

faults: $(READY) ## Real faults on a real platform under load, as a matrix (FAULTS="kill stop-kafka", AWAY=30, RATE=500)
	$(BIN)/python -m tests.faults $(FAULTS) $(if $(AWAY),--seconds-away $(AWAY)) $(if $(RATE),--rate $(RATE))

bench: $(READY)  ## Every hop beside its peer or limit, as ratios, into docs/results.md (ROWS="bridge features", ROUNDS=5)
	$(BIN)/python -m benchmarks $(ROWS) --rounds $(or $(ROUNDS),5)

lint: $(READY)   ## Format and lint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(READY)  ## Static types
	$(BIN)/mypy

check: test lint types  ## All that CI checks

lock: $(READY)   ## Pin the Python packages anew: names, versions and hashes, no addresses
	$(BIN)/uv pip compile --python-version 3.11 --universal --generate-hashes --no-emit-index-url --no-annotate --no-header \
		--extra dev pyproject.toml -o requirements.lock

jars-lock: $(READY)  ## Pin the Java archives of the local stack anew (needs Maven)
	$(BIN)/python -m stack.jarlock

clean:           ## Remove the virtual environment and what tools left (not .mliot)
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(READY): requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "make: Python 3.11 or newer is needed: install it, or name it with PYTHON=..."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: Python 3.11 or newer is needed: $$($(PYTHON) -V) is too old; name another with PYTHON=..."; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	VIRTUAL_ENV=$(CURDIR)/.venv $(BIN)/uv pip sync --quiet --require-hashes requirements.lock
	VIRTUAL_ENV=$(CURDIR)/.venv $(BIN)/uv pip install --quiet --no-deps -e .
	@touch $@
