# Each target installs what it needs, and no more: a machine with Python 3.11 and make is enough.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NODE := tests/node/node_modules

# Hundreds of processes are started by the tests: each would compile all modules anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: serve demo check test test-slow bench setup

serve: $(VENV)/.installed-serve
	$(BIN)/nonito serve

# Two weeks of a made-up shop's events, in ./demo-data.
demo: $(VENV)/.installed-serve
	$(BIN)/nonito demo

check: $(VENV)/.installed-check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

INSTALLED_FOR_TESTS := $(VENV)/.installed-test $(if $(shell command -v npm),$(NODE))

test: $(INSTALLED_FOR_TESTS)
	$(BIN)/pytest

# Whole servers killed and replaced, other programs, every screen in a browser.
test-slow: $(INSTALLED_FOR_TESTS)
	$(BIN)/pytest -m slow

bench: $(VENV)/.installed-bench
	$(BIN)/python -m bench compare

# Everything: what `check` looks at imports all the rest.
setup: $(VENV)/.installed-check

# An extra of pyproject.toml, and with it those that it holds.
HELD_BY_serve := embedded insights
HELD_BY_bench := serve embedded insights
HELD_BY_test := bench serve embedded insights
HELD_BY_check := test bench serve embedded insights

$(VENV)/.installed-%: pyproject.toml | $(BIN)/pip
	$(BIN)/pip install --editable '.[$*]'
	touch $(patsubst %,$(VENV)/.installed-%,$* $(HELD_BY_$*))

# What tests need of npm, at the versions of its lock.
$(NODE): tests/node/package-lock.json
	npm ci --prefix tests/node
	touch $@

$(BIN)/pip:
	$(PYTHON) -m venv $(VENV)
