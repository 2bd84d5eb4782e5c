# Every target sets up what it needs; nothing but Python 3.11+ and make is assumed.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: help install demo test check lint types imports api lock clean ops-test image kind kind-down soak soak-history \
        examples-test pictures metrics-doc
.DEFAULT_GOAL := help

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

$(STAMP): requirements/run.txt requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "candled needs Python 3.11 or later: make PYTHON=/path/to/python3.11 ...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-compile --require-hashes -r requirements/dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

install: $(STAMP) ## the virtual environment in .venv, from the pinned requirements

demo: $(STAMP) ## the daemon on the embedded exchange, no network needed
	$(BIN)/candled demo

test: $(STAMP) lint types imports ## lint, types, import rules and the fast tests
	$(BIN)/pytest

check: test

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

imports: $(STAMP)
	$(BIN)/lint-imports

OPS := .venv-ops

$(OPS)/.installed: requirements/ops.txt
	test -x $(OPS)/bin/python || $(PYTHON) -m venv $(OPS)
	$(OPS)/bin/pip install --quiet --disable-pip-version-check --no-compile --require-hashes -r requirements/ops.txt
	@touch $@

ops-test: $(STAMP) $(OPS)/.installed ## container and cluster files, with the tools that check them (in .venv-ops)
	CANDLED_OPS_TOOLS=$(CURDIR)/$(OPS)/bin $(BIN)/pytest -m '' -n 2 --dist loadfile tests/ops

soak-history: $(STAMP) ## 200 kill -9 of the history, with a reader at work (20 minutes; strace for those at system calls)
	$(BIN)/python -m tests.history --kills 200 --output benchmarks/results/history-kills.md

image: ## the container image, with buildah, podman or docker
	ops/container/build

KIND := terraform -chdir=ops/terraform/kind

kind: export BUILDER := docker
kind: $(STAMP) image ## a kind cluster with candled on its embedded exchange, then live candles (needs Docker, kind, Terraform)
	$(KIND) init -input=false
	$(KIND) apply -input=false -auto-approve
	@echo "The chart is at http://127.0.0.1:8080/; make kind-down removes the cluster."
	$(BIN)/candled watch --address 127.0.0.1:50051

kind-down: ## remove that cluster and all that it stored
	$(KIND) destroy -input=false -auto-approve

api: $(STAMP) ## make candled/api again from protos/
	protos/generate $(BIN)/python

EXAMPLES := .venv-examples

$(EXAMPLES)/.installed: requirements/examples.txt $(STAMP)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-compile --require-hashes --upgrade --target $(EXAMPLES) -r requirements/examples.txt
	@touch $@

examples-test: $(EXAMPLES)/.installed ## the example in examples/, against a demo and the recipes of README (libraries in .venv-examples)
	CANDLED_EXAMPLES_PATH=$(CURDIR)/$(EXAMPLES) $(BIN)/pytest -m slow tests/cli/test_example.py
	PYTHONPATH=$(CURDIR)/$(EXAMPLES) $(BIN)/pytest tests/history/test_recipes.py

soak: $(STAMP) ## an hour of faults, kills and restarts of real processes; the record goes to benchmarks/results
	$(BIN)/python -m benchmarks.soak --minutes 60 --record benchmarks/results/soak.md

pictures: $(STAMP) ## make docs/images again (needs Chromium and tmux)
	$(BIN)/python -m docs.pictures

metrics-doc: $(STAMP) ## make docs/metrics.md again from the table of metrics
	$(BIN)/python -m candled.metrics > docs/metrics.md

lock: $(STAMP) ## make requirements/*.txt again from pyproject.toml (needs uv)
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header pyproject.toml -o requirements/run.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -c requirements/run.txt --group dev pyproject.toml -o requirements/dev.txt
	echo hatchling | uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -c requirements/dev.txt - -o requirements/build.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header requirements/ops.in -o requirements/ops.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -c requirements/run.txt --group examples -o requirements/examples.txt

clean: ## remove the virtual environment and caches
	rm -rf $(VENV) $(OPS) $(EXAMPLES) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
