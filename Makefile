# `make` alone lists what there is. Every target starts by installing what is missing, so any of them may be the first.
SHELL := /usr/bin/env bash
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
SWIFT ?= swift
export SWIFT
flags := $(if $(filter release,$(BGAGENT_BUILD)),-c release,)

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: bootstrap
bootstrap: ## install what is missing: Debian packages, Python environment
	@scripts/bootstrap

.PHONY: build
build: bootstrap ## compile every service and the command line tool (BGAGENT_BUILD=release for the fast ones)
	@$(SWIFT) build $(flags)

.PHONY: demo
demo: bootstrap ## one task from end to end, on simulators (DEMO_MODEL=real for the real model)
	@scripts/demo

.PHONY: test
test: bootstrap ## everything CI runs: lint, unit, integration and system tests
	@scripts/test

.PHONY: test-fast
test-fast: bootstrap ## lint, Swift and Python tests only
	@scripts/test --fast

.PHONY: test-full
test-full: bootstrap ## everything, then the long tests
	@scripts/test --full

.PHONY: compose-test
compose-test: build ## the compose installation: up from images, one task, down (FULL=1: replicas, kills, upgrade, restore)
	@scripts/compose-test $(if $(FULL),--full,)

.PHONY: lint
lint: bootstrap ## formatting, types, shell and import rules
	@scripts/lint

.PHONY: format
format: bootstrap ## put the formatting right in place
	@scripts/lint --fix

.PHONY: up
up: build ## start a stack that stays up, under a supervisor (make up REHEARSAL=1 with simulators)
	@scripts/stack up $(if $(REHEARSAL),--rehearsal,)

.PHONY: down
down: ## stop that stack and its servers; data stays
	@scripts/stack down

.PHONY: migrate
migrate: build ## bring the running stack's database and broker to this version
	@scripts/stack migrate

.PHONY: bench
bench: bootstrap ## measure, beside a peer; keeps the table in bench/results (BENCH="--quick submit" for less)
	@scripts/bench $(BENCH)

.PHONY: docs
docs: bootstrap ## write the generated pages again
	@scripts/docs

.PHONY: requirements
requirements: bootstrap ## pin and hash the Python packages again
	@scripts/requirements

.PHONY: clean
clean: ## stop everything of this checkout and remove what was built and run
	@scripts/clean
