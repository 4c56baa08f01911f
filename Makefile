# Everything happens in .venv, made from constraints.txt; only Python, pip and make are needed.
PYTHON ?= python3
BIN := .venv/bin
PATHS := tap_nexudus_usage tests bench demo examples tools
# The targets' environments, and the oldest Python that each is made for.
ENVIRONMENTS := postgres:3.10 duckdb:3.10 jsonl:3.10 snowflake:3.11 bigquery:3.11 \
	bigquery_emulator:3.13 dagster:3.10 dbt:3.10 csv:3.10 pipelinewise_postgres:3.10 sqlite:3.9
# Those of Airbyte's clients.
AIRBYTE_ENVIRONMENTS := pyairbyte:3.10 airbyte_cdk:3.10
PIN := $(BIN)/uv pip compile --quiet --upgrade --universal --generate-hashes --no-header \
	--no-emit-index-url --no-emit-find-links
# Of environments in a folder.
pin_each = cd $(1) && for pair in $(2); do \
		name=$${pair%:*}; \
		$(CURDIR)/$(PIN) --python-version $${pair\#*:} --output-file $$name.txt $$name.in || exit; \
	done

.DEFAULT_GOAL := help
.PHONY: help demo test test-wide test-installs test-pythons test-long test-warehouses \
	test-airbyte bench docs pictures settings lint format types wheels audit constraints \
	constraints-warehouses constraints-airbyte clean

help: ## List the commands
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 25

demo: .venv/installed ## Run the tap under Meltano against a sandbox, twice
	$(BIN)/python demo/demo.py

# With bytecode, which some environments switch off: else each of the processes compiles all anew.
test: .venv/installed ## Run the quick tests
	PYTHONDONTWRITEBYTECODE= $(BIN)/pytest

# How many examples chance decides on, where that isn't said: what the quick tests have is less.
WIDER = SEARCH_EXAMPLES=80 HOSTILE_EXAMPLES=50

test-wide: .venv/installed ## Run the quick tests, and what they take a part of in whole
	$(WIDER) PYTHONDONTWRITEBYTECODE= $(BIN)/pytest \
		-m "not long and not install and not warehouse and not airbyte"

test-installs: .venv/installed ## Install the tap in every way that the README says, and the image's
	$(BIN)/pytest -m install

# Option: AT_LEAST=3, how many Pythons have to be found.
test-pythons: .venv/installed ## Run the two above on every supported Python that is found
	$(WIDER) $(BIN)/python -m tools.pythons $(if $(AT_LEAST),--at-least $(AT_LEAST))

test-long: .venv/installed ## Run the quick and long tests, with many more examples (an hour)
	SEARCH_EXAMPLES=5000 FAULT_SCHEDULES=6000 HOSTILE_EXAMPLES=1000 \
		$(BIN)/pytest -m "not install and not warehouse and not airbyte" --timeout=3600

test-warehouses: .venv/installed ## Load warehouses with real targets, and compare row by row
	$(BIN)/pytest -m warehouse --numprocesses=0 --timeout=1200

test-airbyte: .venv/installed ## Read with PyAirbyte, and let the CDK's standard tests judge the source
	$(BIN)/pytest -m airbyte --numprocesses=0 --timeout=1200 tests/airbyte/clients

# Options: REPEAT=3, ONLY=by-id or ONLY=by-id-2000, LONG=1 for those that take minutes as well.
bench: .venv/bench/installed ## Measure the tap beside a bare script (ten minutes)
	$(BIN)/python -m bench --python .venv/bench/bin/python \
		$(if $(REPEAT),--repeat $(REPEAT)) $(if $(ONLY),--only $(ONLY)) $(if $(LONG),--long)

docs: .venv/installed ## Write into docs/first-morning.md what its commands really say
	DOCUMENTS=write $(BIN)/pytest -m warehouse --numprocesses=0 --timeout=1200 \
		tests/warehouses/test_first_morning.py

pictures: .venv/installed ## Draw the pictures in docs/pictures and bench
	$(BIN)/python -m tools.pictures

lint: .venv/installed ## Check style
	$(BIN)/ruff format --check $(PATHS)
	$(BIN)/ruff check $(PATHS)
	$(BIN)/lint-imports
	$(BIN)/actionlint .github/workflows/*.yml
	$(BIN)/hadolint Dockerfile

format: .venv/installed ## Mend style
	$(BIN)/ruff format $(PATHS)
	$(BIN)/ruff check --fix $(PATHS)

types: .venv/installed ## Check types
	$(BIN)/mypy

settings: .venv/installed ## Write the table in docs/settings.md
	$(BIN)/python -m tools.settings_table

wheels: .venv/installed ## Check that every supported Python installs from wheels
	$(BIN)/python -m tools.wheels

audit: .venv/installed ## Look for known vulnerabilities in the pinned versions
	$(BIN)/python -m tools.audit constraints.txt

constraints: .venv/installed ## Pin the newest versions of everything
	$(PIN) --python-version 3.10 --extra sandbox --group dev \
		--output-file constraints.txt pyproject.toml

constraints-warehouses: .venv/installed ## Pin the newest versions of what the targets need
	$(call pin_each,tests/warehouses/environments,$(ENVIRONMENTS))

constraints-airbyte: .venv/installed ## Pin the newest versions of what Airbyte's clients need
	$(call pin_each,tests/airbyte/clients/environments,$(AIRBYTE_ENVIRONMENTS))

clean: ## Remove the environments and what runs left
	rm -rf .venv .warehouses .meltano output dist

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv --clear .venv
	awk '/^[^ ]/ {is_uv = /^uv==/} is_uv' constraints.txt > .venv/uv.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--require-hashes --requirement .venv/uv.txt
	VIRTUAL_ENV=.venv $(BIN)/uv pip sync --quiet --compile-bytecode \
		--require-hashes constraints.txt
	VIRTUAL_ENV=.venv $(BIN)/uv pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

# What is measured has an environment of its own: the SDK imports numpy and others where they are
# installed, which for the bench's plots they are, and for users they aren't.
.venv/bench/installed: .venv/installed
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv/bench
	VIRTUAL_ENV=.venv/bench $(BIN)/uv pip install --quiet --compile-bytecode \
		--constraint constraints.txt --editable .
	touch $@
