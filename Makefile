# make loop   set everything up, then five rounds on the embedded simulator
# make proof  kill -9 of a small run at ten random moments (docs/kills.md), and a round driven by keys on a virtual screen
# make test   set everything up, then lint, types, layers and the tests against the installed wheel
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
ROUNDS ?= 5

.PHONY: setup loop test lint wheel proof clean
.DEFAULT_GOAL := loop

$(BIN)/python:
	$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 13) else "takeover needs Python 3.11 or 3.12 (carla 0.9.16 has no other wheels), this is %d.%d: make PYTHON=python3.12" % v)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.deps: constraints.txt pyproject.toml | $(BIN)/python
	$(BIN)/pip install --quiet --constraint constraints.txt "setuptools>=77" ".[dev]"
	$(BIN)/pip uninstall --quiet --yes takeover-loop
	touch $@

setup: $(VENV)/.deps
	$(BIN)/pip install --quiet --no-deps --force-reinstall --no-build-isolation .
	rm -rf build *.egg-info
	cd / && $(abspath $(BIN))/python -P -m takeover.sim_bridge.embedded --warm

loop: setup
	$(BIN)/loop run --rounds $(ROUNDS)

lint: setup
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	cd / && $(abspath $(BIN))/mypy --config-file $(CURDIR)/pyproject.toml -p takeover
	$(BIN)/lint-imports

test: lint
	OMP_NUM_THREADS=1 $(BIN)/pytest --durations=15

proof: setup
	cd / && OMP_NUM_THREADS=1 $(abspath $(BIN))/python -P $(CURDIR)/benchmarks/kills.py
	cd / && OMP_NUM_THREADS=1 $(abspath $(BIN))/python -P $(CURDIR)/benchmarks/human_round.py

clean:
	rm -rf build *.egg-info .pytest_cache .mypy_cache .ruff_cache
