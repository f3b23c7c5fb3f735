# CLAP Workbench. A new user needs two commands:  make demo   and   make test
#
#   make demo    the whole story on the simulated station, unattended        QUICK=1  JSON=1  ARGS="..."
#   make test    format, lint, types, import contracts, tests                ARGS="tests/core -k ring"
#   make run     the window                                                  ARGS="--home DIR"
#   make lint    the checks of `make test` without the tests
#   make slow    the tests that take minutes
#   make lock    install what requirements.in adds, write requirements.lock anew   UPGRADE=1 takes newer versions too
#   make clean   remove .venv and every cache of this folder (never a data folder)

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup demo test run lint slow lock clean

PY := .venv/bin/python
BIN := .venv/bin

# One thread per process: many small processes share the cores, and waiting OpenMP threads only take them away.
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1
export MKL_NUM_THREADS ?= 1
export OMP_WAIT_POLICY ?= PASSIVE
export MUJOCO_GL ?= egl
# Files are UTF-8 whatever the locale says.
export PYTHONUTF8 ?= 1

FLAGS := $(if $(QUICK),--quick) $(if $(JSON),--json)

help:
	@sed -n '3,9s/^#   //p' Makefile

setup:
	@bash packaging/setup.sh

demo: setup
	@$(PY) main.py demo $(FLAGS) $(ARGS)

run:
	@bash packaging/setup.sh window
	@$(PY) main.py $(ARGS)

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Tests that only compute share the cores; those that keep time have the machine to themselves.
COMPUTE := tests/storage tests/models tests/walk $(wildcard tests/test_*.py)

test: export QT_QPA_PLATFORM := offscreen
test: lint
ifdef ARGS
	$(BIN)/pytest $(ARGS)
else
	@failed=0; \
	$(BIN)/pytest -n 2 --dist loadfile $(COMPUTE) || failed=1; \
	$(BIN)/pytest tests $(COMPUTE:%=--ignore=%) || failed=1; \
	exit $$failed
endif

slow: setup
	QT_QPA_PLATFORM=offscreen $(BIN)/pytest -m slow $(ARGS)

lock: setup
	$(PY) -m pip install --quiet --disable-pip-version-check $(if $(UPGRADE),--upgrade) --requirement requirements.in
	$(PY) packaging/lock.py
	@touch .venv/.installed-$$(cat requirements.lock packaging/bare.txt | sha256sum | cut -c1-16)

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache MUJOCO_LOG.TXT
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
