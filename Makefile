# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# The index of what a person can do here. The work is in tools/ and in the playbooks.
# Recipes use relative paths only, so a checkout may lie in a directory whose name has spaces. GNU make 3.81 will do.

# What a user may set, on the command line or in the environment (make help explains).
PLATFORM ?= local
MTLS_HOME ?=
EXTRA ?=
PURGE ?=
PYTHON ?=
ONLY ?=
VERBOSE ?=
QUICK ?=
COVERAGE_MINIMUM ?= 95
export PLATFORM MTLS_HOME PURGE PYTHON VERBOSE QUICK COVERAGE_MINIMUM

.DEFAULT_GOAL := help
.PHONY: help site verify status down test lint sanity units molecule bench docs release pins env clean

help: ## This list
	@tools/help

##@ The site

site: ## Set up the mTLS gateway and prove it
	@tools/play site $(EXTRA)

verify: ## Prove again that the running gateway lets the right clients in, and only them
	@tools/play verify $(EXTRA)

status: ## Show processes, ports, certificate expiries and the last verification
	@tools/env site && .venv/bin/python tools/status.py $(EXTRA)

down: ## Stop all that `make site` started; keys and certificates stay unless PURGE=1
	@tools/play teardown $(EXTRA)

##@ The project

test: ## Run every check; ends with a table of results, skips and reasons
	@tools/env test && tools/check $(ONLY)

lint: ## Run the linters only (yamllint, ruff, mypy, ansible-lint, changelog, licences, docs)
	@tools/env test && tools/check lint

sanity: ## Run ansible-test sanity only
	@tools/env test && tools/check sanity

units: ## Run the unit tests only, with coverage (one test: see CONTRIBUTING.md)
	@tools/env test && tools/check units

molecule: ## Run the molecule scenarios only
	@tools/env test && tools/check molecule

bench: ## Measure, print medians and compare with the targets (about a quarter of an hour)
	@tools/env test && tools/bench $(ONLY)

docs: ## Build the documentation site in .build/docs
	@tools/env test && tools/docs

release: ## Build the collection's artifact in dist, reproducibly
	@tools/env test && tools/release

pins: ## Renew the pinned requirements to the newest versions
	@tools/env test && tools/pins

env: ## Only create the virtual environment .venv
	@tools/env test

clean: ## Remove what was built here: .venv, .build, dist; never the site's keys and certificates
	rm -rf .venv .build dist tests/output .mypy_cache .pytest_cache .ruff_cache .hypothesis
