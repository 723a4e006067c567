# Every target sets up its own environment from a fresh clone: Python 3.11 or newer is enough.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
WORKERS ?= 2

.PHONY: demo test test-slow lint docs site pictures wheel clean

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

# The documentation site in build/site. The gallery is executed (four minutes) if FAIRAUTOML_DATA_HOME
# names the folder of its tables; otherwise its code is shown.
site: $(VENV)/.installed-docs
	$(BIN)/python -m sphinx -W --keep-going -q -c docs . build/site
	$(BIN)/python docs/check_links.py build/site

# The pictures of README and start page.
pictures: $(VENV)/.installed-docs
	$(BIN)/python docs/pictures/draw.py
	$(BIN)/python docs/pictures/draw_systems.py

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

$(VENV)/.installed-docs: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -e ".[docs]"
	touch $@
