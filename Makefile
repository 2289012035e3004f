# The project's verbs, for people and CI alike. Needs make and Python 3.11 or newer; everything else lands in .venv.
# Not a build system: hatchling builds (pyproject.toml), and requirements/*.lock say what is installed.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/sh

# The interpreter .venv is made with: `make PYTHON=/opt/python3.13/bin/python3 serve`.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$python" && break; done)
VENV := .venv
BIN := $(VENV)/bin
CODE := $(wildcard protos client server models tests bench docs)
# What runs on the oldest and the newest versions as well. Oldest are all that pyproject.toml names, so all but what needs
# scikit-learn or builds the distribution; of newest, grpcio is what is locked, so what reads and writes with protobuf 7.
# Frames of HTTP/2 are our own, and gRPC's core is the oracle for them in the version that is locked.
MATRIX-oldest := $(wildcard tests/wire tests/client tests/server tests/e2e)
MATRIX-newest := $(wildcard tests/wire tests/client tests/server/rpc tests/server/repository \
	$(addprefix tests/e2e/test_,bad_requests.py messages.py model_repository.py statistics.py streams.py tracing.py))
# Passed on to the verb: `make serve ARGS="--grpc-port 9001"`, `make test ARGS="-k batching"`.
ARGS ?=

# $(call environment,FOLDER): makes a virtual environment there, unless one that works is there already.
define environment
	@test -n "$(PYTHON)" || { echo "sardonyx needs Python 3.11 or newer and found none; install it, or name it: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(1)/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		rm -rf $(1) && $(PYTHON) -m venv $(1) || { rm -rf $(1); echo "$(PYTHON) cannot make a virtual environment (on Debian: apt-get install python3-venv)" >&2; exit 1; }; }
endef

# $(call install,FOLDER,LOCK): such an environment with exactly what the lock file names, then the project itself from these
# folders. --no-deps: the lock file is complete, pip has nothing to resolve.
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check
define install
	$(call environment,$(1))
	@echo "installing $(2) into $(1)"
	@$(1)/bin/python $(PIP_INSTALL) --no-deps --require-hashes --requirement $(2)
	@$(1)/bin/python $(PIP_INSTALL) --no-deps --no-build-isolation --editable .
endef

.PHONY: help
help: ## list the verbs
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: serve
serve: $(VENV)/.serve-stamp ## serve the sample models on 127.0.0.1:8001 (ARGS="--grpc-port 9001" for flags)
	@exec $(BIN)/sardonyx serve models/ $(ARGS)

# Two runs at a time: one leaves half of two cores idle. The longest shows its progress, for which make has the plus, though
# not in a dry run, where the plus would run it; what the others print comes when each has ended.
IN-SIGHT := $(if $(findstring n,$(firstword -$(MAKEFLAGS))),,+)
.PHONY: test
test: ## run all tests, and those that touch grpcio on its oldest and newest version
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target test-locked test-oldest test-newest

.PHONY: test-locked
test-locked: $(VENV)/.dev-stamp ## run all tests on the locked versions only (ARGS="-k name")
	$(IN-SIGHT)$(BIN)/python -m pytest $(ARGS)

.PHONY: test-matrix
test-matrix: test-oldest test-newest ## run the tests that touch grpcio on its oldest and newest supported version

.PHONY: test-oldest test-newest
test-oldest test-newest: test-%: $(VENV)-%/.stamp
	$(VENV)-$*/bin/python -m pytest -p no:cacheprovider $(ARGS) --ignore=tests/server/rpc/http2 --ignore=tests/e2e/test_zipmap.py $(MATRIX-$*)

.PHONY: check
check: check-format check-lint check-types check-layers check-generated ## format, lint, strict types, layers, and whether generated files are current

.PHONY: check-format check-lint check-types check-layers check-generated
check-format: $(VENV)/.dev-stamp
	$(BIN)/ruff format --check $(CODE)
check-lint: $(VENV)/.dev-stamp
	$(BIN)/ruff check $(CODE)
check-types: $(VENV)/.dev-stamp
	$(BIN)/mypy
	PYRIGHT_PYTHON_GLOBAL_NODE=off $(BIN)/pyright --project pyproject.toml
check-layers: $(VENV)/.dev-stamp
	$(BIN)/lint-imports
check-generated: $(VENV)/.dev-stamp
	$(BIN)/python protos/generate.py --check

.PHONY: format
format: $(VENV)/.dev-stamp ## format the code and mend what the linter can mend safely
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check --fix $(CODE)

.PHONY: models
models: $(VENV)/.dev-stamp ## train the sample models anew and write models/
	$(BIN)/python models/build.py

.PHONY: protos
protos: $(VENV)/.dev-stamp ## generate the Python side of protos/ anew
	$(BIN)/python protos/generate.py

.PHONY: conformance
conformance: $(VENV)/.dev-stamp ## try other clients and ONNX's node tests; one table (ARGS="--only kserve")
	$(BIN)/python -m tests.conformance $(ARGS)

.PHONY: bench bench-quick bench-soak bench-generators
bench: $(VENV)/.dev-stamp ## measure the server under every load, up to 15 minutes (ARGS="--only iris")
	$(BIN)/python -m bench.suite $(ARGS)
bench-quick: $(VENV)/.dev-stamp ## the same with fewer points, under 2 minutes
	$(BIN)/python -m bench.suite --quick $(ARGS)
bench-soak: $(VENV)/.dev-stamp ## half an hour of load: does memory grow?
	$(BIN)/python -m bench.suite --soak $(ARGS)
bench-generators: $(VENV)/.dev-stamp ## check the load generator with h2load and perf_analyzer on one server
	$(BIN)/python -m bench.suite --generators $(ARGS)

.PHONY: bench-gate
bench-gate: $(VENV)/.dev-stamp ## has the p99 grown since the commit before? (ARGS="--against COMMIT")
	$(BIN)/python -m bench.gate $(ARGS)

.PHONY: bench-micro
bench-micro: $(VENV)/.dev-stamp ## measure single steps of the hot path, half a minute (ARGS="-k queue")
	$(BIN)/python -m bench.micro $(ARGS)

.PHONY: bench-core
bench-core: $(VENV)/.dev-stamp ## measure the core against its bars, each a ratio within one run
	$(BIN)/python -m bench.core $(ARGS)

.PHONY: bench-features
bench-features: $(VENV)/.dev-stamp ## measure what streams, loads, metrics and shared memory cost and gain
	$(BIN)/python -m bench.features $(ARGS)

.PHONY: bench-client
bench-client: $(VENV)/.dev-stamp ## measure the client beside tritonclient and the bare stub
	$(BIN)/python -m bench.client $(ARGS)

.PHONY: bench-report
bench-report: $(VENV)/.dev-stamp ## make a page of HTML from stored runs (RUN="FILE FILE")
	$(BIN)/python -m bench.report $(RUN) $(ARGS)

.PHONY: bench-readme
bench-readme: $(VENV)/.dev-stamp ## write README's figures and docs/performance.md (RUN=FILE replaces one)
	$(BIN)/python -m bench.report.readme $(RUN)

.PHONY: peers
peers: $(VENV)/.dev-stamp ## install the servers that bench-peers compares with (ARGS="triton" for one)
	$(BIN)/python -m bench.peers.install $(ARGS)

.PHONY: bench-peers
bench-peers: $(VENV)/.dev-stamp ## measure beside other servers (ARGS="--only triton --models iris")
	$(BIN)/python -m bench.peers $(ARGS)

# The index is whatever the machine's uv is set up for; its address stays out of the files. Versions already locked are
# kept; ARGS="--upgrade" moves them. serve.lock is held to dev.lock, so that `make serve` after `make test` has nothing to
# change. oldest.lock takes the lower end of every bound in pyproject.toml: each is tested, none is only claimed.
COMPILE := UV_CUSTOM_COMPILE_COMMAND="make lock" $(VENV)-lock/bin/uv pip compile pyproject.toml --quiet --universal \
	--python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links $(ARGS)
.PHONY: lock
lock: $(VENV)-lock/.stamp ## resolve requirements/*.lock anew (ARGS="--upgrade" for newer versions)
	@$(COMPILE) --extra server --extra bench --extra demo --extra otel --group dev --output-file requirements/dev.lock
	@$(COMPILE) --extra server --group build --constraints requirements/dev.lock --output-file requirements/serve.lock
	@$(COMPILE) --extra server --extra bench --group build --group newest --output-file requirements/newest.lock
	@$(COMPILE) --extra server --extra bench --group build --group oldest --resolution lowest-direct --output-file requirements/oldest.lock

$(VENV)-lock/.stamp:
	$(call environment,$(VENV)-lock)
	@$(VENV)-lock/bin/python $(PIP_INSTALL) 'uv>=0.9'
	@touch $@

.PHONY: clean
clean: ## remove the environments and all that tools leave behind
	rm -rf $(VENV) $(VENV)-* tests/conformance/node/node_modules build dist .benchmarks .coverage .hypothesis .import_linter_cache \
		.mypy_cache .pytest_cache .ruff_cache
	find $(CODE) -type d -name __pycache__ -exec rm -rf {} +

# What a developer's environment holds includes what serving needs, hence the second stamp: `make serve` after `make test`
# installs nothing.
$(VENV)/.dev-stamp: requirements/dev.lock pyproject.toml
	$(call install,$(VENV),$<)
	@touch $@ $(VENV)/.serve-stamp

$(VENV)/.serve-stamp: requirements/serve.lock pyproject.toml
	$(call install,$(VENV),$<)
	@touch $@

$(VENV)-%/.stamp: requirements/%.lock pyproject.toml
	$(call install,$(VENV)-$*,$<)
	@touch $@
