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

# Two locks: what running needs, and beside it what developing needs. Both are installed by hash.
NEW_ENOUGH = $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 ...")'

.PHONY: python
python:  # A PYTHON that is named must be that of the environment.
	@$(if $(filter-out file,$(origin PYTHON)),$(NEW_ENOUGH); $(PYTHON) -m deploy.install check)

.venv/installed: requirements.lock | python
	@$(NEW_ENOUGH)
	@$(PYTHON) -m deploy.install new requirements.lock
	@touch $@

.venv/developer: requirements-dev.lock | .venv/installed
	@$(BIN)/python -m deploy.install add requirements-dev.lock
	@touch $@

SITE = $$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
PROTOC = $(BIN)/python -m grpc_tools.protoc -Iprotos -I"$(SITE)"

build/contract.binpb: .venv/installed $(PROTOS)
	@mkdir -p build
	@rm -rf kobklein/options kobklein/payments kobklein/wallets
	@$(PROTOC) --python_out=. --grpc_python_out=. --include_imports --include_source_info --descriptor_set_out=$@ $(PROTOS)
	@cp $@ kobklein/contract.binpb

build/types: build/contract.binpb .venv/developer
	@$(PROTOC) --plugin=$(BIN)/protoc-gen-mypy --plugin=$(BIN)/protoc-gen-mypy_grpc \
	  --mypy_out=quiet:. --mypy_grpc_out=quiet:. $(PROTOS)
	@touch $@

build/contract: build/contract.binpb deploy/contract.py
	@$(BIN)/python -m deploy.contract $@
	@touch $@

.PHONY: setup developer protos
setup: python build/contract.binpb ## Make the virtual environment and the generated code
developer: python build/types ## The same, with the tools of developers
protos: build/types build/contract ## Generate the code of the contract, and build/contract for other languages

.PHONY: demo run token
demo: setup ## Play the main job end to end on a throw-away stack
	$(BIN)/python -m deploy.local demo

run: setup ## Keep the whole stack running on this machine, with its data
	$(BIN)/python -m deploy.local run

token: setup ## Print a token: make token ROLE=user SUBJECT=user-2; several roles with commas
	@$(BIN)/python -m deploy.local token --role "$(ROLE)" --subject "$(SUBJECT)"

# These work without the environment, too.
UPKEEP = $(or $(wildcard $(BIN)/python),$(PYTHON)) -m deploy.local.upkeep

.PHONY: stop reset clean
stop: ## Stop what runs from this folder, and what a killed `make run` left running
	@$(UPKEEP) stop

reset: ## Remove the data of this folder: keys, logs, databases
	@$(UPKEEP) reset

clean: ## Remove everything that was made, data included
	@$(UPKEEP) clean

.PHONY: test chaos bench
test: developer ## Run every change-time test, the files of them spread over two processes
	$(BIN)/python -m pytest -n 2 --dist loadfile

chaos: developer ## Run the tests of reliability in their full sizes, and plant faults that they must catch (about an hour)
	TEST_SIZE=full $(BIN)/python -m pytest -m chaos --timeout=7200
	$(BIN)/python -m tests.faults

bench: developer ## Measure, print a table and write build/bench.json
	$(BIN)/python -m tests.bench

.PHONY: format lint types contract check
format: developer ## Format code and protos
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/buf format -w protos

lint: developer ## Check format and style
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: developer ## Check types
	$(BIN)/mypy

contract: developer ## Check the protos: format, lint, and that nothing on the main branch breaks
	$(BIN)/buf format --exit-code -d protos
	$(BIN)/buf lint build/contract.binpb --config protos/buf.yaml
	$(BIN)/python -m deploy.breaking

check: lint types contract test ## All that CI runs

COMPILE = $(BIN)/uv pip compile -q pyproject.toml --universal --python-version 3.11 --generate-hashes --no-annotate --no-header

.PHONY: lock
lock: developer ## Pin the newest allowed versions of all dependencies
	$(COMPILE) --upgrade --extra local --extra dev -o requirements-dev.lock
	$(COMPILE) --extra local -c requirements-dev.lock -o requirements.lock
