# Everything a newcomer needs, with Python 3.11 or newer and make. The first command installs everything into `.venv`.
#
#   make install         install, and nothing else
#   make demo            train and compare two small models
#   make demo-sweep      run an ablation: nine variants on one backbone pass
#   make demo-retrieval  train text-video retrieval and two baselines
#   make test            run the tests, except the longest
#   make test-all        run all tests
#   make docs            build the documentation into build/docs
#   make reference       write the generated parts of README and docs, the JSON Schemas, and the figures of presets
#   make services        start an MLflow server for several machines: make services ARGS="--host 0.0.0.0"
#   make check           check format, style, types and imports
#   make format          format the code
#   make clean           remove build output and caches

BIN := .venv/bin
REQUIREMENTS := -c constraints.txt -e '.[dev]'
PYTHONS := $(PYTHON) python3 python3.13 python3.12 python3.11

.PHONY: help install demo demo-sweep demo-retrieval docs services reference test test-all check format clean
.DEFAULT_GOAL := help

help:
	@sed -n 's/^# \{0,1\}//p' Makefile | sed '/^$$/q' | sed '$$d'
	@sed -n 's/^#   /  /p' Makefile

# Made once, and again when the dependencies change. An interrupted set-up leaves no stamp and goes on next time.
.venv/.installed: pyproject.toml constraints.txt
	@$(BIN)/python -c '' 2>/dev/null || { \
	  for python in $(PYTHONS); do \
	    if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found=$$python; break; fi; \
	  done; \
	  if [ -z "$$found" ]; then \
	    echo "make: no Python 3.11 or newer among: $(PYTHONS). Install one, or name it: make PYTHON=/path/to/python3" >&2; \
	    exit 1; \
	  fi; \
	  "$$found" -m venv --clear .venv; \
	}
	@uv=$$(command -v uv); "$${uv:-false}" --version >/dev/null 2>&1 || { \
	  $(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt uv 2>/dev/null; uv=$(BIN)/uv; \
	}; \
	if "$$uv" --version >/dev/null 2>&1; then \
	  echo "Installing with uv into .venv: half a minute to two minutes, 7 GB (once)."; \
	  "$$uv" pip install -q --python $(BIN)/python --compile-bytecode $(REQUIREMENTS) && exit; \
	  echo "uv could not install it; now with pip."; \
	else \
	  echo "There is no uv here and pip cannot get it; now with pip."; \
	fi; \
	echo "Installing with pip into .venv: two to six minutes, 7 GB (once)."; \
	$(BIN)/python -m pip install -qq --disable-pip-version-check $(REQUIREMENTS)
	@touch $@

install: .venv/.installed

demo: .venv/.installed
	@$(BIN)/side4video demo

demo-sweep: .venv/.installed
	@$(BIN)/side4video sweep experiments/quickstart-sweep.yaml

demo-retrieval: .venv/.installed
	@$(BIN)/side4video sweep experiments/quickstart-retrieval-sweep.yaml

# On loopback unless ARGS has a --host; MLFLOW_BACKEND_STORE_URI names a database other than SQLite.
services: .venv/.installed
	@$(BIN)/side4video services $(ARGS)

docs: .venv/.installed
	@$(BIN)/sphinx-build -W --keep-going -q -b html docs build/docs
	@echo "build/docs/index.html"

reference: .venv/.installed
	@$(BIN)/side4video schema experiment > platform/side4video/spec/schemas/experiment.schema.json
	@$(BIN)/side4video schema sweep > platform/side4video/spec/schemas/sweep.schema.json
	@$(BIN)/python docs/generators/presets.py
	@$(BIN)/python docs/generators/pages.py

# Tests start hundreds of processes; with nothing compiled, each would compile all that it imports.
test test-all: export PYTHONDONTWRITEBYTECODE =

# Two processes at a time, each with half of the files; what starts Ray, one after the other.
test: .venv/.installed
	@$(BIN)/pytest -m "not long and not alone" -n 2 --dist worksteal $(ARGS)
	@$(BIN)/pytest -m "not long and alone" tests/integration $(ARGS)

test-all: .venv/.installed
	@$(BIN)/pytest $(ARGS)

check: .venv/.installed
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/pyright
	@$(BIN)/lint-imports

format: .venv/.installed
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

# `.venv` stays.
clean:
	@rm -rf build dist .pytest_cache .ruff_cache .import_linter_cache
	@find platform tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
