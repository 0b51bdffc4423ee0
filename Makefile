# The front door: every command that a developer or a user of a checkout needs.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

MINUTES ?= 30
OURS    ?= 5
STOCK   ?= 0
INPUTS  ?= 200000
SEED    ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint types imports check interop chaos fuzz bench failover format clean

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

setup: $(STAMP)  ## a virtual environment with everything in it

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

demo: $(STAMP)  ## three daemons on this machine: a ring forms, orders messages, loses a node and takes it back
	$(BIN)/python -m demo

test: $(STAMP)  ## unit, simulation, cluster and fuzz tests; needs no root
	$(BIN)/python -m pytest --numprocesses auto tests/unit tests/simulation tests/fuzz
	$(BIN)/python -m pytest tests/cluster

lint: $(STAMP)  ## ruff: style and common mistakes
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)  ## mypy --strict
	$(BIN)/mypy

imports: $(STAMP)  ## who may import whom
	$(BIN)/lint-imports

check: lint types imports test  ## everything that needs neither root nor packages

interop: $(STAMP)  ## against the distribution's corosync: needs root, iproute2 and corosync (see tests/interop)
	$(BIN)/python -m pytest tests/interop

chaos: $(STAMP)  ## real daemons under random faults, judged by checkers: MINUTES=30 OURS=5 STOCK=0 SEED=; needs what interop needs
	$(BIN)/python -m chaos --minutes $(MINUTES) --ours $(OURS) --stock $(STOCK) $(if $(SEED),--seed $(SEED))

fuzz: $(STAMP)  ## hostile input for everything that decodes: INPUTS=200000 SEED=1; coverage-guided as well where atheris is installed
	$(BIN)/python -m fuzz --inputs $(INPUTS) --seed $(or $(SEED),1)

bench: $(STAMP)  ## our cluster and a stock one in turn, same C client: needs what interop needs, and gcc
	$(BIN)/python -m bench

failover: $(STAMP)  ## kill daemons of ours and of stock in turn: how soon the others go on (about 15 minutes)
	$(BIN)/python -m bench.failover

format: $(STAMP)  ## let ruff rewrite the layout
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove the virtual environment and caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info
