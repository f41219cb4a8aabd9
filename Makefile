# The commands of the project. Each sets up what it needs; `make` alone lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PYTEST_ARGS ?=
# One worker holds the running PBX, the other one does the rest.
PARALLEL := -n 2 --dist loadgroup
# Without peers; of the tests that start the daemon as a process, those with workers.
ON_PYPY := tests/sipua tests/cxml tests/e2e/test_workers.py tests/interop/test_icmp.py

.PHONY: help setup demo test test-pythons test-pypy pypy bench-pypy peers interop fuzz bench bench-check soak check lint types layers architecture docs fmt clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

setup: $(READY) ## .venv with everything (python3 and python3-venv are enough)

$(READY): pyproject.toml constraints.txt
	@python=$$(PYTHON="$(PYTHON)" scripts/find-python default) && scripts/make-venv $(VENV) "$$python"

demo: $(READY) ## one call and one transfer on loopback, with the SIP ladder
	@$(BIN)/cxmld demo

test: $(READY) peers ## the whole test suite; as root on Debian it installs its SIP peers
	$(BIN)/python -m pytest $(PARALLEL) $(PYTEST_ARGS)

peers: ## install SIPp, dnsmasq and Asterisk for the interop tests, or say which are missing (PEERS=no: install nothing)
	@PEERS="$(PEERS)" tests/interop/install-peers

interop: $(READY) peers ## only the tests against real peers
	$(BIN)/python -m pytest tests/interop $(PYTEST_ARGS)

test-pythons: $(READY) ## the suite without peers on the oldest and newest other Python of this machine
	@others=$$(scripts/find-python others); \
	if [ -z "$$others" ]; then echo "test-pythons: no other supported Python here"; exit 0; fi; \
	for python in $$others; do \
	    folder=.venv-$$("$$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	    if [ ! pyproject.toml -ot $$folder/.ready ] || [ ! constraints.txt -ot $$folder/.ready ]; then \
	        scripts/make-venv $$folder "$$python"; \
	    fi; \
	    echo "test-pythons: $$("$$python" --version)"; \
	    $$folder/bin/python -m pytest $(PARALLEL) -m 'not interop' $(PYTEST_ARGS); \
	done

pypy: .venv-pypy/.ready ## .venv-pypy with the daemon and its tests; where there is no PyPy 3.11, Debian's is fetched (needs a C compiler)

.PHONY: .pypy-choice-now
.pypy-choice: .pypy-choice-now $(READY)
	@python=$$(scripts/find-pypy) && choice=$$(echo "$$python"; "$$python" -VV) && { echo "$$choice" | cmp -s - $@ || echo "$$choice" >$@; }

.venv-pypy/.ready: pyproject.toml constraints.txt .pypy-choice
	@python=$$(head -n 1 .pypy-choice) && EXTRA=test SOURCES=httptools,pyyaml scripts/make-venv .venv-pypy "$$python"

test-pypy: $(READY) ## the suite without peers on PyPy, where one can be had
	@if scripts/find-pypy >/dev/null; then \
	    $(MAKE) --no-print-directory .venv-pypy/.ready && .venv-pypy/bin/python -m pytest $(PARALLEL) $(ON_PYPY) $(PYTEST_ARGS); \
	else [ -z "$${PYPY:-}$${PYPY_SUITE:-}" ] && echo "test-pypy: no PyPy here, nothing tested"; fi

fuzz: .venv-fuzz/.ready ## fuzz the parsers with atheris, FUZZ_SECONDS (60) for each target of tests/fuzz
	@scripts/fuzz

.venv-fuzz/.ready: pyproject.toml constraints.txt
	@python=$$(PYTHON="$(PYTHON)" scripts/find-python default) && EXTRA=fuzz scripts/make-venv .venv-fuzz "$$python"

bench: $(VENV)/.bench-ready peers ## what a transfer costs, beside its peers, with plot and flame graph; an hour or two (BENCH_ARGS=--quick)
	@$(MAKE) --no-print-directory pypy || echo "bench: without PyPy"
	@bench/run-all $(BENCH_ARGS)

$(VENV)/.bench-ready: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input --only-binary :all: \
	    --constraint constraints.txt --editable '.[dev,bench]'
	@touch $@

bench-pypy: $(VENV)/.bench-ready peers pypy ## the same on PyPy beside CPython, Asterisk and the floor; half an hour (BENCH_ARGS)
	@bench/run-pypy $(BENCH_ARGS)

soak: $(READY) ## calls of every outcome for SOAK_SECONDS (300) at SOAK_RATE (20) a second; fails if anything grows or is lost
	$(BIN)/python -m bench.soak $(SOAK_ARGS)

bench-check: $(READY) peers ## fails when a transfer costs 25 % more than bench/baseline.json keeps, counted in SIPp's
	$(BIN)/python -m bench --check

check: lint types layers architecture test test-pythons test-pypy bench-check ## what CI runs: lint, types, layers, tests, cost of a transfer

lint: $(READY) ## ruff: rules and format
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(READY) ## mypy --strict
	$(BIN)/mypy

layers: $(READY) ## import-linter: the arrows between packages
	$(BIN)/lint-imports

architecture: $(READY) ## rules of the house that no linter knows
	$(BIN)/python -m pytest -q tests/architecture $(PYTEST_ARGS)

docs: $(READY) ## write etc/cxmld.toml, the configuration reference and the changelog anew
	PYTHONPATH=. $(BIN)/python scripts/write-docs

fmt: $(READY) ## rewrite the code in the project's format
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean: ## remove environments and caches
	rm -rf .venv .venv-* build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
