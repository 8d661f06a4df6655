# Everything runs in .venv, which these targets make themselves: a machine needs python3 >= 3.11, make and a
# package index. Stamp files under .venv make each set-up step a no-op until the file it reads has changed.

PYTHON ?= python3
# Words passed on: make serve ARGS="--port 9000", make test ARGS="tests/core -k log".
ARGS ?=
# The Autobahn WebSocket suite: a folder with prepare.sh, which takes it from the package index, and run.py.
PATINOX_AUTOBAHN ?= ../shared/tools/autobahn
FRAMING_CASES := 1.*,2.*,3.*,4.*,5.*,6.*,7.*,10.*
DEFLATE_CASES := 12.*,13.*
# Test processes: two a processor, as many tests wait for servers. 0 runs the tests in pytest's own process.
WORKERS ?= $(shell expr 2 \* $$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2))
# Anything here has `make test` run those marked `slow` too, as .ci/run does.
SLOW ?=

# How long the shared stores are stressed by `make stress`, and from which seed.
STRESS_S ?= 600
SEED ?=

VENV := .venv
BIN := $(VENV)/bin
# uv doesn't read pip's configuration, so a package index that pip was given is passed on.
INSTALL = index=$${UV_DEFAULT_INDEX:-$${PIP_INDEX_URL:-$$($(BIN)/python -m pip config get global.index-url 2>/dev/null)}}; \
	env $${index:+"UV_DEFAULT_INDEX=$$index"} $(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps

.DEFAULT_GOAL := help
.PHONY: help install serve test check lint format types proto bench coverage stress frontier autobahn autobahn-deflate h2spec lock clean
MAKEFLAGS += --no-print-directory

help:  ## Show these targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r target text; do \
		printf '%-24s %s\n' "$$target" "$$text"; done

install: $(VENV)/.dev  ## Set up .venv with everything that development needs
	@echo ".venv is current."

serve: $(VENV)/.serve  ## Run the server (ARGS="--port 9000"); installs only what serving needs
	@exec $(BIN)/patinox serve $(ARGS)

test: $(VENV)/.dev  ## Run the tests (ARGS="tests/core", WORKERS=0 for one process; SLOW=1 for all of them)
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup $(if $(SLOW),,-m "not slow") $(ARGS)

check: lint types test  ## Formatting, lint, types, then the tests

lint: $(VENV)/.dev  ## Check formatting and lint rules
	@echo "==> ruff"
	@$(BIN)/ruff format --check --quiet . || { echo "Some files are not formatted: run 'make format'."; exit 1; }
	@$(BIN)/ruff check --quiet .

format: $(VENV)/.dev  ## Format, and fix what ruff can fix by itself
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

types: $(VENV)/.dev  ## Check types, strictly, in src and tests
	@echo "==> mypy"
	@$(BIN)/mypy

proto: $(VENV)/.dev  ## Rewrite the Python of proto/ (a test fails where it is out of date)
	@$(BIN)/python proto/generate.py

bench: $(VENV)/.dev $(VENV)-bench/.peers  ## Run the benchmarks beside the peers (ARGS="--quick --only a,b")
	@$(BIN)/python -m benchmarks $(ARGS)

stress: $(VENV)/.dev  ## Kill and cut three nodes on Valkey and NATS for STRESS_S seconds each (SEED= to repeat one)
	@PATINOX_STRESS_S=$(STRESS_S) PATINOX_STRESS_SEED=$(SEED) $(BIN)/python -m pytest -n 0 -s tests/integration/test_store_stress.py $(ARGS)

coverage: $(VENV)/.dev  ## Run the tests and report branch coverage
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup --cov --cov-report=term $(ARGS)

frontier: $(VENV)/.dev  ## A million cases for the release frontier, on all processors (CASES=10000 for fewer); an hour or so
	@$(BIN)/python -m tests.properties.frontier_cases $(or $(CASES),1000000)

autobahn: $(VENV)/.dev build/autobahn/.ready  ## Run the Autobahn WebSocket suite against the server's own protocol
	@$(BIN)/python -m tests.conformance.autobahn build/autobahn '$(or $(CASES),$(FRAMING_CASES))'

autobahn-deflate: $(VENV)/.dev build/autobahn/.ready  ## The same for permessage-deflate; takes an hour or so
	@$(BIN)/python -m tests.conformance.autobahn build/autobahn '$(or $(CASES),$(DEFLATE_CASES))'

h2spec: $(VENV)/.dev build/h2spec  ## Run h2spec against the server's HTTP/2, in the clear and over TLS; needs Go
	@$(BIN)/python -m tests.conformance.h2spec build/h2spec

lock: $(VENV)/.uv  ## Rewrite requirements/*.txt (ARGS=--upgrade for the newest versions)
	@UV=$(BIN)/uv sh requirements/lock.sh $(ARGS)

clean:  ## Remove .venv and every cache
	rm -rf $(VENV) $(VENV)-bench benchmarks/build build .mypy_cache .pytest_cache .ruff_cache .hypothesis htmlcov .coverage .coverage.*

$(VENV)/.uv: requirements/uv.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "Patinox needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1 || true)." >&2; \
		echo "Name another one with: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	@echo "==> making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV) || { \
		echo "'$(PYTHON) -m venv' failed; on Debian and Ubuntu it is in the package python3-venv." >&2; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@touch $@

$(VENV)/.serve: requirements/serve.txt requirements/build.txt pyproject.toml $(VENV)/.uv
	@echo "==> installing what the server needs"
	@$(INSTALL) --require-hashes -r requirements/serve.txt
	@$(INSTALL) --build-constraints requirements/build.txt --editable .
	@touch $@

$(VENV)-bench/.peers: requirements/bench.txt $(VENV)/.uv
	@echo "==> making $(VENV)-bench with the peers of the benchmarks"
	@$(PYTHON) -m venv $(VENV)-bench
	@$(VENV)-bench/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bench.txt
	@touch $@

$(VENV)/.dev: requirements/dev.txt requirements/build.txt pyproject.toml $(VENV)/.uv
	@echo "==> installing what development needs"
	@$(INSTALL) --require-hashes -r requirements/dev.txt
	@$(INSTALL) --build-constraints requirements/build.txt --editable .
	@touch $@

build/autobahn/.ready: $(PATINOX_AUTOBAHN)/prepare.sh $(PATINOX_AUTOBAHN)/run.py
	@echo "==> preparing the Autobahn suite in build/autobahn"
	@rm -rf build/autobahn && mkdir -p build && cp -R "$(PATINOX_AUTOBAHN)" build/autobahn
	@cd build/autobahn && bash prepare.sh >prepare.log 2>&1 || { tail -n 5 prepare.log >&2; exit 1; }
	@touch $@

build/h2spec:
	@command -v go >/dev/null || { echo "h2spec is built with Go, which is not here." >&2; exit 1; }
	@echo "==> building h2spec"
	@mkdir -p build && GOBIN="$(CURDIR)/build" go install github.com/summerwind/h2spec/cmd/h2spec@latest
