# What one types here. `make` alone lists it.
PORT ?= 8000
STATE ?= .state
STAGE ?= prod
PY = .venv/bin/python

# With YES=1 the plan is taken as it is: for pipelines.
YES ?=
OPTIONS ?=

.PHONY: help install package plan deploy acceptance smoke-aws bench-packaged cost run test test-dry test-rooms test-wet test-long lint format clean-lab bench bench-deploy bench-import bench-api bench-lists bench-placement bench-deploys bench-live bench-git soak

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
	@$(PY) -m pytest -m "not lab and not docker and not long" --ignore tests/acceptance --ignore tests/domain --ignore tests/commands --ignore tests/architecture

test-wet:  ## the tests on real Docker hosts
	@$(PY) -m pytest -m "(lab or docker) and not long"

test-long:  ## the journeys that take minutes, apart from the others
	@$(PY) -m pytest -m long

lint: install  ## format, style, types, import rules, the workflow's grammar, the templates
	@.venv/bin/ruff format --check --quiet . || { echo "make format puts these right:"; .venv/bin/ruff format --check .; }
	@.venv/bin/ruff check --quiet .
	@.venv/bin/mypy
	@.venv/bin/lint-imports
	@.venv/bin/statelint infra/deploy.asl.json
	@.venv/bin/cfn-lint infra/*.yaml

format:  ## put format and import order right
	@.venv/bin/ruff check --fix --quiet . || true
	@.venv/bin/ruff format .

package: install  ## the release in build/STAGE, compiled and pruned, and how large it is (STAGE=prod)
	@$(PY) -m infra.deploy package --stage $(STAGE) $(OPTIONS)

plan: install  ## what `make deploy` would change in the AWS account (STAGE=prod)
	@$(PY) -m infra.deploy plan --stage $(STAGE) $(OPTIONS)

deploy: install  ## into the AWS account: preflight, plan, then both stacks, functions and APIs (STAGE=prod YES=)
	@$(PY) -m infra.deploy up --stage $(STAGE) $(if $(YES),--yes) $(OPTIONS)

acceptance: install  ## the release, deployed into an emulated AWS account, with real Docker hosts
	@$(PY) -m pytest tests/acceptance
	@$(PY) -m pytest tests/journeys --plane packaged -m "not long"

smoke-aws: install  ## what no emulator proves, asked of the deployed stage (STAGE=prod)
	@$(PY) -m infra.smoke --stage $(STAGE) $(OPTIONS)

cost:  ## what AWS asks a month for 10, 100 and 1,000 services, with the arithmetic
	@$(PY) -m infra.cost

clean-lab:  ## end lab hosts that a killed test run left behind
	@$(PY) -m tests.lab down

bench: bench-import bench-packaged bench-api bench-lists bench-placement bench-deploy bench-deploys bench-live bench-git  ## every bench, one after the other

bench-deploy: install  ## a deploy through the API against `docker compose up -d --wait` over SSH, on a lab host
	@$(PY) -m bench.deploy

bench-import: install  ## what a cold start of the API function costs in CPU
	@$(PY) -m bench.cold_import

bench-packaged: install  ## the release's size, and what importing its API function costs in CPU
	@$(PY) -m bench.packaged

bench-api: install  ## requests a second with 1,000 services in the store
	@$(PY) -m bench.api

bench-lists: install  ## the list of 1,000 and 10,000 services, 8 connections
	@$(PY) -m bench.lists

bench-placement: install  ## 1,000 creates at once over 20 simulated hosts: is anything promised twice?
	@$(PY) -m bench.placement

soak: install  ## ten minutes of live logs while every WebSocket ends after 20 seconds: is a line lost?
	@$(PY) -m bench.soak

bench-live: install  ## live logs: how late, how many lines, what watching costs the host
	@$(PY) -m bench.live

bench-deploys: install  ## 16 deploys at once on a lab host against 16 times `docker compose up -d`
	@$(PY) -m bench.many_deploys

bench-git: install  ## a redeploy from a repository against `git fetch && docker compose up -d --build --wait` on the host
	@$(PY) -m bench.git_deploy
