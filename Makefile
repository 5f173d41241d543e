# Everything installs into .venv from hash-locked files; the rest of the machine stays unchanged.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -q

STAGE ?= rehearsal
ARCH ?= arm64

.PHONY: help up format lint test soak fuzz bench bench-data package synth rehearse deploy lock clean
help:
	@echo "make up       install and serve on HOST:PORT (127.0.0.1:8080)"
	@echo "make format   format the code"
	@echo "make lint     check format, lint rules, types and imports; a part of make test"
	@echo "make test     install the test dependencies and run every check, cheapest first"
	@echo "make soak     kill server and database at random for minutes; no acknowledged write may be lost"
	@echo "make fuzz     fuzz every operation at length"
	@echo "make bench    compare the speed with the bare driver, a plain FastAPI stack and a bare WebSocket server"
	@echo "make bench-data  measure lists at 100 times the data"
	@echo "make package  pack every function for AWS and print the sizes"
	@echo "make synth    write the templates of STAGE (default: rehearsal) to build/cdk-STAGE"
	@echo "make rehearse deploy the templates to a local AWS emulator, run the end-to-end tests and chaos on it"
	@echo "make deploy   deploy STAGE=dev, staging or production; needs AWS credentials"
	@echo "make lock     write new lock files"
	@echo "make clean    delete the environments and caches"

$(VENV)/.runtime: requirements/build.txt requirements/runtime.txt pyproject.toml
	@echo "Installing NomadCrew into $(VENV) …"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "NomadCrew needs Python 3.11 or newer; set PYTHON, for example PYTHON=python3.12.")'
	@$(PYTHON) -m venv $(VENV) || { echo "python3 -m venv failed: on Debian and Ubuntu, apt install python3-venv"; exit 1; }
	@$(PIP) install --require-hashes --no-deps -r requirements/build.txt -r requirements/runtime.txt
	@$(PIP) install --no-deps --no-build-isolation --no-index -e .
	@touch $@

$(VENV)/.test: $(VENV)/.runtime requirements/test.txt
	@echo "Installing the test dependencies …"
	@$(PIP) install --require-hashes --no-deps -r requirements/test.txt
	@touch $@

# The compiler of the TypeScript client, with the Node.js and npm of the test dependencies.
COMPILER := clients/typescript/node_modules/.package-lock.json
$(COMPILER): clients/typescript/package-lock.json | $(VENV)/.test
	@echo "Installing the TypeScript compiler …"
	@cd $(@D)/.. && PATH="$(abspath $(BIN)):$$PATH" npm ci --loglevel=error --no-audit --no-fund >/dev/null
	@touch $@

up: $(VENV)/.runtime
	@exec $(BIN)/nomadcrew up

format: $(VENV)/.test
	$(BIN)/ruff format .

lint: $(VENV)/.test $(COMPILER)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/node clients/typescript/node_modules/typescript/bin/tsc --noEmit -p clients/typescript

test: $(VENV)/.test $(COMPILER)
	@rm -rf build/coverage; mkdir -p build/coverage
	@echo "The tests of components, contracts and infrastructure run beside the others; their output is at the end."
	@($(BIN)/coverage run -m pytest tests/component tests/contract && $(BIN)/pytest tests/infrastructure) \
	    >build/beside.log 2>&1 & beside=$$!; \
	  trap 'pkill -P $$beside; kill $$beside 2>/dev/null' EXIT; \
	  $(MAKE) --no-print-directory lint || exit 1; \
	  $(BIN)/coverage run -m pytest tests/unit && $(BIN)/pytest tests/e2e; code=$$?; \
	  wait $$beside || code=1; cat build/beside.log; exit $$code
	@$(BIN)/coverage combine -q
	@echo "Branch coverage, without end-to-end tests: $$($(BIN)/coverage report --format=total) % of all modules."
	$(BIN)/coverage report --include='src/nomadcrew/core/*' --skip-covered --show-missing --fail-under=100

soak: $(VENV)/.test
	@$(BIN)/python -m tests.e2e.soak --rounds 20

fuzz: $(VENV)/.test
	@$(BIN)/python -m tests.e2e.fuzz --examples 200

# The stacks of the comparison have a separate environment.
$(VENV)-bench/.bench: requirements/build.txt requirements/bench.txt pyproject.toml
	@echo "Installing the comparison's dependencies into $(VENV)-bench …"
	@$(PYTHON) -m venv $(VENV)-bench
	@$(VENV)-bench/bin/python -m pip --disable-pip-version-check -q install --require-hashes --no-deps -r requirements/build.txt -r requirements/bench.txt
	@$(VENV)-bench/bin/python -m pip --disable-pip-version-check -q install --no-deps --no-build-isolation --no-index -e .
	@touch $@

bench: $(VENV)-bench/.bench
	@$(VENV)-bench/bin/python -m bench.run
	@$(VENV)-bench/bin/python -m bench.http_alone
	@$(VENV)-bench/bin/python -m bench.files
	@$(VENV)-bench/bin/python -m bench.pictures
	@$(VENV)-bench/bin/python -m bench.archives
	@$(VENV)-bench/bin/python -m bench.cold_start

bench-data: $(VENV)-bench/.bench
	@$(VENV)-bench/bin/python -m bench.data

package: $(VENV)/.test
	@$(BIN)/python -m infrastructure.package --stage $(STAGE) --arch $(ARCH)

synth: package
	@$(BIN)/python -m infrastructure.cdk synth --quiet --output build/cdk-$(STAGE) -c stage=$(STAGE) -c arch=$(ARCH)

rehearse: $(VENV)/.test
	@$(BIN)/python -m rehearsal.run

deploy: $(VENV)/.test
	@$(BIN)/python -m infrastructure.deploy --stage $(STAGE)

lock: $(VENV)/.test
	@for name in build runtime function test bench; do \
	  $(BIN)/uv pip compile -q --generate-hashes --no-header --no-annotate --universal --python-version 3.11 \
	    --exclude-newer "$$(date -u -d '7 days ago' +%FT00:00:00Z 2>/dev/null || date -u -v-7d +%FT00:00:00Z)" \
	    requirements/$$name.in -o requirements/$$name.txt || exit 1; \
	done

clean:
	rm -rf $(VENV) $(VENV)-bench clients/typescript/node_modules .mypy_cache .ruff_cache .pytest_cache
