# Needs git, make and Python 3.11 or newer; everything else goes into .venv, at the versions of .ci/constraints.txt.
#
#   make demo     index the sample corpus and search it
#   make test     lint, types and all tests
#   make lint | types | format | bench | clean

PYTHON ?= python3

VENV := .venv
BIN := $(VENV)/bin
CONSTRAINTS := .ci/constraints.txt
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check --no-input
RUNTIME := $(VENV)/.installed-runtime
DEV := $(VENV)/.installed-dev
TESTS := tests/safety/ tests/jobs/ $(filter-out tests/safety/ tests/jobs/ tests/benchmarks/, $(wildcard tests/*/))
DEMO_INDEX := .demo/wikipedia.index

# Named with its exact version so that no newer build, with gigabytes of CUDA libraries, is chosen.
TORCH := $(shell grep '^torch==' $(CONSTRAINTS))

.DELETE_ON_ERROR:
.PHONY: help demo test install lint types format bench clean

help:
	@sed -n '3,5s/^# *//p' Makefile

demo: $(RUNTIME)
	$(BIN)/embedder index jobs/sample/corpus.parquet --out $(DEMO_INDEX)
	$(BIN)/embedder search --index $(DEMO_INDEX) -k 3 "bank"
	$(BIN)/embedder search --index $(DEMO_INDEX) -k 3 "rivers that flood every spring"
	$(BIN)/embedder search --index $(DEMO_INDEX) -k 3 --where "title LIKE 'A%'" "philosopher"

# The files that take longest go first, so that no process is left with one of them at the end.
test: lint types
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder $(TESTS)

install: $(DEV)

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(DEV)
	$(BIN)/mypy

format: $(DEV)
	$(BIN)/ruff check --quiet --fix .
	$(BIN)/ruff format --quiet .

bench: $(DEV)
	@echo "Benchmarks are scripts; run one at a time on an otherwise idle machine:"
	@for script in tests/benchmarks/*.py; do \
		test ! -f "$$script" || echo "  $(BIN)/python $$script"; \
	done

# The environment stays; `rm -rf .venv` removes that too.
clean:
	rm -rf .demo build dist *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find embedder indexes jobs tests -name __pycache__ -prune -exec rm -rf {} +

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { \
		echo "error: $(PYTHON) not found; install Python 3.11 or newer," \
			"or name one: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "error: $(PYTHON) is $$($(PYTHON) --version 2>&1), wanted 3.11 or newer;" \
			"name one: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(RUNTIME): pyproject.toml $(CONSTRAINTS) | $(BIN)/python
	@echo "installing into $(VENV) (once, some minutes)"
	@$(PIP) install -c $(CONSTRAINTS) setuptools setuptools-scm $(TORCH)
	@$(PIP) install -c $(CONSTRAINTS) --no-build-isolation -e .
	@touch $@

$(DEV): $(RUNTIME)
	@$(PIP) install -c $(CONSTRAINTS) --no-build-isolation -e ".[dev]"
	@touch $@
