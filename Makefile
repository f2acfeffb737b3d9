PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TESTS_READY := $(VENV)/.tests-ready

.PHONY: run test test-virtual check bench format clean

run: $(READY)
	$(BIN)/provision apply inventory/lab.yaml

test: $(TESTS_READY)
	$(BIN)/python -m pytest

test-virtual: $(TESTS_READY)
	$(BIN)/python -m pytest -v -n 2 --dist loadfile tests/virtual

check: $(TESTS_READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/style

bench: $(TESTS_READY)
	$(BIN)/python -m bench

format: $(TESTS_READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) build *.egg-info

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(READY): $(VENV)/bin/python pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check -e .
	touch $@

$(TESTS_READY): $(VENV)/bin/python pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@
