# Every target sets up what it needs; on a fresh machine `make demo` and `make test` are enough.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
PROTOS := $(shell find protos -name '*.proto')

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  \1\t\2/' | expand -t 16

.venv/installed: requirements.lock
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	touch $@

build/contract.binpb: .venv/installed $(PROTOS)
	mkdir -p build
	rm -rf kobklein/options kobklein/payments kobklein/wallets
	$(BIN)/python -m grpc_tools.protoc -Iprotos -I"$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" \
	  --plugin=$(BIN)/protoc-gen-mypy --plugin=$(BIN)/protoc-gen-mypy_grpc \
	  --python_out=. --mypy_out=quiet:. --grpc_python_out=. --mypy_grpc_out=quiet:. \
	  --include_imports --include_source_info --descriptor_set_out=$@ $(PROTOS)
	cp $@ kobklein/contract.binpb

.PHONY: setup protos
setup: build/contract.binpb ## Make the virtual environment and the generated code
protos: build/contract.binpb ## Generate the Python code of the contract

.PHONY: demo run
demo: setup ## Play the main job end to end on a throw-away stack
	$(BIN)/python -m deploy.local demo

run: setup ## Keep the whole stack running on this machine, with its data
	$(BIN)/python -m deploy.local run

.PHONY: test chaos bench
test: setup ## Run every change-time test, the files of them spread over two processes
	$(BIN)/python -m pytest -n 2 --dist loadfile

chaos: setup ## Run the tests of reliability in their full sizes, and plant faults that they must catch (about an hour)
	TEST_SIZE=full $(BIN)/python -m pytest -m chaos --timeout=7200
	$(BIN)/python -m tests.faults

bench: setup ## Measure, print a table and write build/bench.json
	$(BIN)/python -m tests.bench

.PHONY: format lint types contract check
format: setup ## Format code and protos
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/buf format -w protos

lint: setup ## Check format and style
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: setup ## Check types
	$(BIN)/mypy

contract: setup ## Check the protos: format, lint, and that nothing on the main branch breaks
	$(BIN)/buf format --exit-code -d protos
	$(BIN)/buf lint build/contract.binpb --config protos/buf.yaml
	$(BIN)/python -m deploy.breaking

check: lint types contract test ## All that CI runs

.PHONY: lock clean
lock: ## Pin the newest allowed versions of all dependencies
	$(BIN)/uv pip compile -q --universal --upgrade --python-version 3.11 --generate-hashes --no-annotate --no-header \
	  --extra dev pyproject.toml -o requirements.lock

clean: ## Remove everything that was made, data included
	rm -rf .venv .data build .hypothesis .mypy_cache .pytest_cache .ruff_cache .schemathesis schemathesis-report \
	  kobklein/options kobklein/payments kobklein/wallets kobklein/contract.binpb
	rm -rf "/var/lib/kobklein/$$(printf %s '$(CURDIR)' | sha256sum | cut -c1-12)"  # where root keeps this checkout's data
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
