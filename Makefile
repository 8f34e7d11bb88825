# What one types here. `make` alone lists it.
PORT ?= 8000
STATE ?= .state
PY = .venv/bin/python

.PHONY: help install run test test-dry test-rooms test-wet test-long lint format clean-lab bench bench-deploy bench-import bench-api bench-lists bench-placement bench-deploys bench-live

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

install:  ## system packages, Docker Compose and .venv; quick when all is there
	@infra/local/install.sh

run: install  ## Slipway on this machine: prints its URL, a token and a curl line (PORT=8000 STATE=.state)
	@$(PY) -m infra.local up --port $(PORT) --state $(STATE) --ready-file $(STATE)/ready.json

test: install test-dry test-rooms test-wet  ## every test but the long ones: the dry ones first, then the emulated, then those on real Docker hosts

test-dry:  ## the rooms that do nothing but think: seconds
	@$(PY) -m pytest tests/domain tests/commands tests/architecture

test-rooms:  ## the others, against emulators and an sshd in the process: a minute
	@$(PY) -m pytest -m "not lab and not docker" --ignore tests/domain --ignore tests/commands --ignore tests/architecture

test-wet:  ## the tests on real Docker hosts
	@$(PY) -m pytest -m "(lab or docker) and not long"

test-long: install  ## those that take minutes, which make test leaves out
	@$(PY) -m pytest -m long

lint: install  ## format, style, types, import rules, the workflow's grammar
	@.venv/bin/ruff format --check --quiet . || { echo "make format puts these right:"; .venv/bin/ruff format --check .; }
	@.venv/bin/ruff check --quiet .
	@.venv/bin/mypy
	@.venv/bin/lint-imports
	@.venv/bin/statelint infra/deploy.asl.json

format:  ## put format and import order right
	@.venv/bin/ruff check --fix --quiet . || true
	@.venv/bin/ruff format .

clean-lab:  ## end lab hosts that a killed test run left behind
	@$(PY) -m tests.lab down

bench: bench-import bench-api bench-lists bench-placement bench-deploy bench-deploys bench-live  ## every bench, one after the other

bench-deploy: install  ## a deploy through the API against `docker compose up -d --wait` over SSH, on a lab host
	@$(PY) -m bench.deploy

bench-import: install  ## what a cold start of the API function costs in CPU
	@$(PY) -m bench.cold_import

bench-api: install  ## requests a second with 1,000 services in the store
	@$(PY) -m bench.api

bench-lists: install  ## the list of 1,000 and 10,000 services, 8 connections
	@$(PY) -m bench.lists

bench-placement: install  ## 1,000 creates at once over 20 simulated hosts: is anything promised twice?
	@$(PY) -m bench.placement

bench-live: install  ## live logs: how late, how many lines, what watching costs the host
	@$(PY) -m bench.live

bench-deploys: install  ## 16 deploys at once on a lab host against 16 times `docker compose up -d`
	@$(PY) -m bench.many_deploys
