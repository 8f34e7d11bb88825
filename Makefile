# What one types here. `make` alone lists it.
PORT ?= 8000
STATE ?= .state
PY = .venv/bin/python

.PHONY: help install run test test-dry test-wet lint format clean-lab bench-placement bench-deploys

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

install:  ## system packages, Docker Compose and .venv; quick when all is there
	@infra/local/install.sh

run: install  ## Slipway on this machine: prints its URL, a token and a curl line (PORT=8000 STATE=.state)
	@$(PY) -m infra.local up --port $(PORT) --state $(STATE) --ready-file $(STATE)/ready.json

test: install test-dry test-wet  ## every test: the dry ones first, then those on real Docker hosts

test-dry:  ## the tests that need neither root nor Docker
	@$(PY) -m pytest -m "not lab and not docker"

test-wet:  ## the tests on real Docker hosts
	@$(PY) -m pytest -m "lab or docker"

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

bench-placement: install  ## 1,000 creates at once over 20 simulated hosts: is anything promised twice?
	@$(PY) -m bench.placement

bench-deploys: install  ## 16 deploys at once on a lab host against 16 times `docker compose up -d`
	@$(PY) -m bench.many_deploys
