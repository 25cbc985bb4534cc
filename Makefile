# The commands of this project. `make help` lists them.
#
#   PYTHON=python3.12 make test    choose the interpreter (3.11 or newer)
#   VENV=/some/folder make test    keep the environment elsewhere
#
# Without make, the two lines that matter are
#   python3 -m venv .venv && .venv/bin/python -m pip install -c constraints.txt -e ".[test]"
#   .venv/bin/twistd -n --pidfile= ctrader-stream

PYTHON ?= python3
VENV ?= .venv
PROTO_VENV ?= .venv-proto
FUZZ_VENV ?= .venv-fuzz
LOCK_VENV ?= .venv-lock
MINUTES ?= 1
SEED ?=
OUT ?= .

BIN := $(VENV)/bin
RUN := $(BIN)/python -m
UV := $(shell command -v uv 2>/dev/null)
PROTOS = $(wildcard proto/ctrader_twisted/pb/*.proto)
PROTO_TOOLS := grpcio-tools==1.76.0 mypy-protobuf==5.1.0 "setuptools<81"

TEST_READY := $(VENV)/.ready-to-test
DEV_READY := $(VENV)/.ready-to-develop
PROTO_READY := $(PROTO_VENV)/.ready-to-generate
FUZZ_READY := $(FUZZ_VENV)/.ready-to-fuzz

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: bench profile help demo test test-unit test-integration faults soak fuzz test-browser test-js test-operations check lock proto proto-check clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(firstword $(MAKEFILE_LIST)) | column -t -s '|' 2>/dev/null || grep '## ' $(firstword $(MAKEFILE_LIST))

demo: $(TEST_READY) ## the daemon with a venue of its own; prices without a broker
	@echo 'The daemon starts here, with a simulated venue inside; Ctrl-C stops it. In another terminal:'
	@echo '    $(BIN)/ctrader-stream tail EURUSD GBPUSD'
	@CTRADER_ENV=simulator exec $(BIN)/twistd -n --pidfile= ctrader-stream

test: $(TEST_READY) ## unit tests by pytest and by trial, integration tests, coverage, the page
	$(RUN) coverage erase
	$(RUN) coverage run -m pytest tests/unit
	$(RUN) twisted.trial --temp-directory=$(VENV)/trial tests.unit
	$(RUN) coverage run -m pytest tests/integration
	$(RUN) coverage combine --quiet
	$(RUN) coverage report
	@$(MAKE) --no-print-directory test-js test-browser

test-unit: $(TEST_READY) ## only the unit tests: offline, seconds
	$(RUN) pytest tests/unit

test-js: ## the client module and the page's rules, by Node alone; skipped, loudly, without Node
	@if node -e "process.exit(process.versions.node < \"20\" ? 1 : 0)" 2>/dev/null; then node --test tests/js/; \
	else echo 'SKIPPED: the JavaScript tests need Node 20 or newer, and "node" is not that' >&2; fi

test-browser: $(TEST_READY) ## the page in headless Chromium; skipped, loudly, where there is none
	$(RUN) pytest tests/browser

test-integration: $(TEST_READY) ## only the integration tests: real sockets on loopback
	$(RUN) pytest tests/integration

test-operations: $(TEST_READY) ## with nginx, systemd-analyze and promtool, which must be installed
	$(RUN) pytest tests/operations

faults: $(TEST_READY) ## run the fault matrix, and write docs/reliability.md from what was measured
	$(RUN) tests.faults

soak: $(TEST_READY) ## the whole daemon through random faults: make soak MINUTES=10 SEED=1
	$(RUN) tests.soak $(MINUTES) $(SEED)

fuzz: $(FUZZ_READY) ## frames and client messages guided by coverage, a minute each; keeps tests/corpus
	$(FUZZ_VENV)/bin/python -m tests.fuzz codec -max_total_time=60 -max_len=4096
	$(FUZZ_VENV)/bin/python -m tests.fuzz requests -max_total_time=60 -max_len=4096

check: $(DEV_READY) ## format, lint, types, architecture
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(RUN) pytest tests/architecture

lock: $(if $(UV),,$(LOCK_VENV)/bin/uv) ## requirements.txt: hashes of what constraints.txt pins, for installs that check them
	@echo 'setuptools>=77' | $(or $(UV),$(LOCK_VENV)/bin/uv) pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	  --no-header --no-annotate -c constraints.txt pyproject.toml - -o requirements.txt
	@(echo '# What the daemon needs, and what builds it, with hashes. Made by `make lock` from pyproject.toml and'; \
	  echo '# constraints.txt; install with: pip install --require-hashes --only-binary :all: -r requirements.txt'; \
	  cat requirements.txt) > requirements.txt.new && mv requirements.txt.new requirements.txt

bench: $(TEST_READY) ## what we claim about speed: ONLY=G1,G3 for some goals, ROUNDS=n, SMOKE=1 for half a minute
	$(RUN) bench $(if $(SMOKE),--smoke) $(if $(BUSY),--busy) $(if $(ONLY),--only $(ONLY)) $(if $(ROUNDS),--rounds $(ROUNDS))

profile: $(TEST_READY) ## where the daemon's time goes under load: ARGS="--even", "--storm", "--sets 20", "--py-spy"
	$(RUN) bench.profiling $(ARGS)

proto: $(PROTO_READY) ## generate ctrader_twisted/pb/ from proto/
	$(PROTO_VENV)/bin/python -m grpc_tools.protoc -I proto --plugin=protoc-gen-mypy=$(PROTO_VENV)/bin/protoc-gen-mypy --python_out=$(OUT) --mypy_out=quiet:$(OUT) $(PROTOS)

proto-check: ## is ctrader_twisted/pb/ what proto/ says?
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT \
	  && $(MAKE) --no-print-directory proto OUT="$$folder" \
	  && diff -r -x __init__.py -x __pycache__ "$$folder/ctrader_twisted/pb" ctrader_twisted/pb \
	  || { echo 'ctrader_twisted/pb/ is not what proto/ says: run "make proto" and commit the result.' >&2; exit 1; }

clean: ## remove environments, caches and build results (never your .env or tap.conf)
	rm -rf $(VENV) $(PROTO_VENV) $(FUZZ_VENV) $(LOCK_VENV) .venv-bench .venv-sdk .venv-ci .venv-ci-proto bench/results build dist *.egg-info _trial_temp* .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- Environments. Each stamp is newer than what it was made from, so this costs nothing twice.

# $(call environment,FOLDER): an empty virtual environment, or a sentence that says what is missing.
define environment
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
  || { echo 'Python 3.11 or newer is needed; "$(PYTHON)" is not. Try: make PYTHON=python3.12 ...' >&2; exit 1; }
@test -x $(1)/bin/python || test -n '$(UV)' || $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
  || { echo '"$(PYTHON)" cannot make virtual environments. On Debian and Ubuntu: apt-get install python3-venv' >&2; exit 1; }
@test -x $(1)/bin/python || $(if $(UV),$(UV) venv --quiet --python $(PYTHON),$(PYTHON) -m venv) $(1)
@test -n '$(UV)' || $(1)/bin/python -m pip --version >/dev/null 2>&1 || $(1)/bin/python -m ensurepip
endef

# $(call install,FOLDER): the command that installs into it.
install = $(if $(UV),$(UV) pip install --quiet --python $(1)/bin/python,$(1)/bin/python -m pip install --quiet --disable-pip-version-check)

$(TEST_READY): pyproject.toml constraints.txt
	$(call environment,$(VENV))
	$(call install,$(VENV)) -c constraints.txt -e ".[test]"
	@touch $@

$(DEV_READY): $(TEST_READY)
	$(call install,$(VENV)) -c constraints.txt -e ".[dev]"
	@touch $@

# The fuzzer instruments all that it imports, and has no wheel for every platform.
$(FUZZ_READY): pyproject.toml constraints.txt
	$(call environment,$(FUZZ_VENV))
	$(call install,$(FUZZ_VENV)) -c constraints.txt -e ".[test]" atheris
	@touch $@

$(LOCK_VENV)/bin/uv:
	$(call environment,$(LOCK_VENV))
	$(call install,$(LOCK_VENV)) uv

# The generator needs an older protobuf than we run on, so it never shares our environment.
$(PROTO_READY): Makefile
	$(call environment,$(PROTO_VENV))
	$(call install,$(PROTO_VENV)) $(PROTO_TOOLS)
	@touch $@
