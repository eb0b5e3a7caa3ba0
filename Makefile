# Each target installs what it needs, and no more: a machine with Python 3.11 and make is enough.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: serve check test bench setup

serve: $(VENV)/.installed-embedded
	$(BIN)/nonito serve

check: $(VENV)/.installed-check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: $(VENV)/.installed-test
	$(BIN)/pytest

bench: $(VENV)/.installed-bench
	$(BIN)/python -m bench compare

# Everything: what `check` looks at imports all the rest.
setup: $(VENV)/.installed-check

# An extra of pyproject.toml, whatever other ones are there already.
$(VENV)/.installed-%: pyproject.toml | $(BIN)/pip
	$(BIN)/pip install --editable '.[$*]'
	touch $@

$(BIN)/pip:
	$(PYTHON) -m venv $(VENV)
