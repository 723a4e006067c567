# Every target sets up its own environment from a fresh clone: Python 3.11 or newer is enough.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
WORKERS ?= 2

.PHONY: demo test test-slow lint docs wheel clean

demo: $(VENV)/.installed
	$(BIN)/fairautoml demo

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest -n $(WORKERS)

test-slow: $(VENV)/.installed-test
	$(BIN)/python -m pytest -n $(WORKERS) -m slow

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Runs the commands and examples of README and docs/, and compares their figures with results/.
docs: $(VENV)/.installed-test
	$(BIN)/python -m pytest -n $(WORKERS) tests/test_readme.py tests/docs

wheel: $(VENV)/.installed-test
	$(BIN)/python -m build --wheel --no-isolation

clean:
	rm -rf $(VENV) build dist

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -e .
	touch $@

$(VENV)/.installed-test: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -e ".[test]"
	touch $@ $(VENV)/.installed
