# Everything a contributor types. Needs nothing but make and a Python from 3.11 on; the rest goes into .venv.
# Written for GNU make 3.81, which is what macOS has.

VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
PYTEST_ARGS ?=
# Much of the tests' time is waiting for servers and workers, so that three have room on two cores.
JOBS   ?= 3

.DEFAULT_GOAL := help
.PHONY: help demo test check lint format clean

help: ## say what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(STAMP) ## run a workflow on real workers, kill some of them, and watch it finish
	@$(BIN)/celeriac demo

test: $(STAMP) ## run the tests, JOBS=3 at a time; PYTEST_ARGS='-k signal' for some of them
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadscope --no-loadscope-reorder $(PYTEST_ARGS)

check: lint ## everything CI checks besides the tests
	$(BIN)/mypy
	$(BIN)/lint-imports

lint: $(STAMP) ## format and lint, without changing anything
	$(BIN)/ruff format --check
	$(BIN)/ruff check

format: $(STAMP) ## format, and mend what can be mended safely
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

clean: ## remove the virtual environment and what the tools leave
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis

# Made anew when pyproject.toml has changed. PYTHON=... picks another interpreter than the newest one found.
$(STAMP): pyproject.toml tools/make-venv
	@tools/make-venv $(VENV) $(PYTHON)
	@touch $@
