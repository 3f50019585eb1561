# A fresh machine needs Python 3.11 and make; everything else is installed into .venv.
PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: install browser check test test-fast docs cli-reference demo clean

export NO_MKDOCS_2_WARNING := 1

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml setup.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo --no-cache
	$(BIN)/mkdocs build --quiet --strict

# The docs in a browser, at the address that is printed; they follow what is edited.
docs: install
	$(BIN)/mkdocs serve

# After a change of a command's flags: the page that lists them.
cli-reference: install
	$(BIN)/python -m nnunetv2_cfseg.cli_reference > docs/reference/cli.md

# The report's tests open it in Chromium. Who is not root installs one; without it these tests are skipped.
browser:
	@command -v chromium chromium-browser google-chrome >/dev/null || test "$$(id -u)" != 0 || \
		(apt-get update -qq && apt-get install -qq -y --no-install-recommends chromium)

# Tests of a file share what they make; those that take longest begin. One thread each: the processes are the cores.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto

test: install browser
	$(PYTEST) tests

# Unit and contract tests: while you work.
test-fast: install
	$(PYTEST) -m "not slow" tests/unit tests/contract

# Phantoms, training, prediction and a report in demo/report.html: about ten minutes on two cores.
demo: install
	$(BIN)/cfseg demo -o demo

clean:
	rm -rf $(VENV) build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
