# Two commands: `make run` for the page, `make test` for the suite. Each makes .venv once and reuses it.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

# Workers of the suite; with 0 it runs in this process, where a debugger can be used: make test JOBS=0 ARGS="-x tests/ui"
JOBS ?= auto
SUITE = pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

.PHONY: run test coverage check format bench space clean

run: $(VENV)/.run
	$(BIN)/python app.py $(ARGS)

test: $(VENV)/.test
	$(BIN)/python -m $(SUITE)

coverage: $(VENV)/.test
	$(BIN)/python -m coverage erase
	$(BIN)/python -m coverage run -m $(SUITE)
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report

check: $(VENV)/.test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/.test
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# make bench PHOTOS=photos.zip
bench: $(VENV)/.test
	$(BIN)/python -m bench.classify $(PHOTOS) $(ARGS)
	$(BIN)/python -m bench.layers

# make space DIR=/tmp/space
DIR ?= build/space
space:
	$(PYTHON) space.py $(DIR)

clean:
	rm -rf $(VENV)

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# Installed again only where a list has changed.
$(VENV)/.run: requirements.txt constraints.txt | $(VENV)/bin/python
	@echo "Installing what the page needs (once) …"
	$(PIP) -r requirements.txt
	@touch $@

$(VENV)/.test: requirements-dev.txt $(VENV)/.run
	@echo "Installing what the tests need (once) …"
	$(PIP) -r requirements-dev.txt
	@touch $@
