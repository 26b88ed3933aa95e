# CI calls `check` and `test`. `make serve` and `make test` need nothing but CPython 3.11 to 3.13, pip and, to be faster, a C compiler.
SHELL := /bin/bash
PYTHON ?= $(shell sh configs/choose_python.sh)
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
STAMP := $(VENV)/.compiled
LOCK := $(UV) pip compile --quiet --universal --python-version 3.11 --no-emit-index-url --no-annotate --generate-hashes
COMPILE := $(BIN)/python -m compileall -q core deployments
UNIT := tests/unit
PROCESSES := 2

export TF_CPP_MIN_LOG_LEVEL ?= 2
# A server is many processes. Each would compile Ray anew if that were not done once, at the installation.
unexport PYTHONDONTWRITEBYTECODE
export UV_COMPILE_BYTECODE_TIMEOUT ?= 600

.PHONY: setup serve run test unit soak check chaos format bench lock protos docs models tools clean

$(STAMP): requirements-dev.lock pyproject.toml clients/python/pyproject.toml setup.py $(wildcard native/*)
	@echo "Python: $(PYTHON) ($$($(PYTHON) -m deployments.system.installed))"
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check uv
	$(UV) pip install --quiet --python $(BIN)/python --compile-bytecode --requirement requirements-dev.lock
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --editable . --editable clients/python
	$(COMPILE)
	touch $@

setup: $(STAMP)  ## create the environment from the lock file

serve: $(STAMP)  ## serve the example models on TensorFlow Serving's ports
	$(COMPILE)
	$(BIN)/python -m deployments.launch.serve_run configs/app.yaml

run: serve

test: $(STAMP)  ## every test: one process has the server that many tests share and mostly waits, the other runs the rest
	$(BIN)/pytest --numprocesses $(PROCESSES) --max-worker-restart 2

unit: $(STAMP)  ## tests without Ray
	$(BIN)/pytest $(UNIT)

check: $(STAMP)  ## format, lint, types, import contracts, dependencies, the Dockerfile, limits of the source
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/deptry .
	$(BIN)/hadolint --failure-threshold style Dockerfile
	$(BIN)/pytest --quiet $(UNIT)/test_house.py

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

soak: $(STAMP)  ## the long form of the tests that `make test` shortens
	RMS_SOAK=1 $(BIN)/pytest -m soak

chaos: $(STAMP)  ## faults under load, and what they cost
	$(BIN)/python -m tests.chaos

bench: $(STAMP)  ## ratios against other servers, in turns
	$(BIN)/python -m benchmarks.servers

lock:  ## resolve the newest allowed versions into the lock files
	$(LOCK) --output-file requirements.lock pyproject.toml
	$(LOCK) --group dev --output-file requirements-dev.lock pyproject.toml
	$(LOCK) --extra image --constraint requirements-dev.lock --output-file requirements-image.lock pyproject.toml
	$(LOCK) --extra image --extra gpu --constraint requirements-dev.lock --output-file requirements-gpu.lock pyproject.toml

protos: $(STAMP)  ## compile the wire messages
	$(BIN)/python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. core/protos/*.proto

docs: $(STAMP)  ## write the rooms' own words into docs/architecture.md
	$(BIN)/python -m tests.support.architecture

models: $(STAMP)  ## make the example SavedModels anew
	$(BIN)/python examples/make_models.py

tools: $(STAMP)  ## Prometheus and Chromium, from the system's packages and not installed; `make test` fetches them, too
	$(BIN)/python -m tests.support.tools

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .hypothesis .coverage *.egg-info
