# Two commands do all the set-up: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TORCH ?= $(shell grep '^torch==' constraints.txt)
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet

.PHONY: demo test coverage test-all lint bench build clean help

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/'

demo: $(BIN)/.installed  ## install, then search NAS-Bench-201 and write a report
	$(BIN)/crlso demo --out runs/demo

# On as many processes as there are processors, four at most; tests of a file on the same one.
PARALLEL := --numprocesses auto --maxprocesses 4 --dist loadfile

test: $(BIN)/.installed-dev  ## install, then run the tests (under 10 minutes)
	$(BIN)/python -m pytest -m "not slow" $(PARALLEL)

coverage: $(BIN)/.installed-dev  ## the same, and which lines they run (takes twice as long)
	$(BIN)/python -m pytest -m "not slow" $(PARALLEL) --cov --cov-report=term:skip-covered

test-all: $(BIN)/.installed-dev  ## all tests, the slow ones too
	$(BIN)/python -m pytest

lint: $(BIN)/.installed-dev  ## format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(BIN)/.installed-dev  ## time the parts that have to be fast
	$(BIN)/python -m pytest tests/speed --benchmark-only --benchmark-columns=median,iqr,rounds

build: $(BIN)/.installed-dev  ## wheel and source archive into dist/
	$(BIN)/python -m build

clean:  ## remove the virtual environment and everything generated
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .coverage

# torch first, by its exact version, so that no other package chooses another one. What PyPI offers for x86-64 Linux
# holds CUDA; for a smaller install give pip's options for the CPU build: make demo TORCH="torch==X --index-url URL".
$(BIN)/.torch: constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) $(TORCH)
	touch $@

$(BIN)/.installed: $(BIN)/.torch pyproject.toml
	$(PIP) -c constraints.txt -e .
	touch $@

$(BIN)/.installed-dev: $(BIN)/.torch pyproject.toml
	$(PIP) -c constraints.txt -e ".[dev]"
	touch $(BIN)/.installed $@
