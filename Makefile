# Every target sets up what it needs: a virtual environment in .venv with the tested versions.
NEW_ENOUGH := -c 'import sys; sys.exit(sys.version_info < (3, 11))'
PYTHON ?= $(firstword $(foreach name,python3 python3.13 python3.12 python3.11,\
	$(shell $(name) $(NEW_ENOUGH) 2>/dev/null && echo $(name))) python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp
SOURCES := cluster_sim actors validation scripts tests
export RAY_USAGE_STATS_ENABLED := 0
# Where there is a C compiler the step loop is compiled, unless it has been; everything works without, so a failure is
# no end.  CLUSTER_SIM_KERNEL=python, with which no run takes it, leaves it out.
COMPILE := $(BIN)/python scripts/build_kernel.py --if-possible \
	|| echo "The step loop could not be compiled (see above), so it runs in Python: same results, slower." >&2

.DEFAULT_GOAL := help
.PHONY: help setup kernel wheel run test docs lint lint/ruff lint/format lint/types lint/schema unit format schema bench acceptance matrix fuzz soak screenshots pin-images clean

help:  ## List the targets.
	@grep -hE '^[a-z/]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(STAMP)  ## Create .venv and install the pinned packages.

# Python 3.11 or newer and its venv module; Debian and Ubuntu ship the latter apart.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) $(NEW_ENOUGH) \
		|| { echo "Python 3.11 or newer is needed; name one with: make PYTHON=python3.12 ..." >&2; exit 1; }
	@if ! [ -x $(BIN)/python ]; then $(PYTHON) -m venv $(VENV) || { \
		rm -rf $(VENV); echo "installing Python's venv module"; \
		if [ "$$(id -u)" = 0 ]; then apt-get update -q && apt-get install -qy python3-venv; \
		else sudo apt-get update -q && sudo apt-get install -qy python3-venv; fi && $(PYTHON) -m venv $(VENV); }; fi
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

kernel: $(STAMP)  ## Compile the step loop, if its sources have changed (needs a C compiler).
	$(BIN)/python scripts/build_kernel.py

wheel: $(STAMP)  ## Build wheels into dist/: of the sources, and with the compiled step loop where there is a C compiler.
	@$(COMPILE)
	$(BIN)/python scripts/build_wheels.py --out dist

run: $(STAMP)  ## Run the quickstart study on Ray actors.
	@$(COMPILE)
	$(BIN)/cluster-sim run conf/quickstart.yaml

test: lint unit  ## Lint, types and tests.

unit: $(STAMP)  ## Tests only.
	@$(COMPILE)
	$(BIN)/python -m pytest -n 2 --dist loadfile --durations 10

lint: lint/ruff lint/format lint/types  ## All checks of the source.

lint/ruff: $(STAMP)  ## Rules.
	$(BIN)/ruff check $(SOURCES)

lint/format: $(STAMP)  ## Layout.
	$(BIN)/ruff format --check $(SOURCES)

lint/types: $(STAMP)  ## Types.
	$(BIN)/mypy

format: $(STAMP)  ## Lay the source out and sort its imports.
	$(BIN)/ruff check --fix-only --quiet $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

schema: $(STAMP)  ## Write conf/schema.json anew.
	$(BIN)/python -m cluster_sim.config.loading.schema_export

screenshots: $(STAMP)  ## Pictures of a report, wide and as on a phone, in build/ (needs Chromium).
	$(BIN)/cluster-sim run conf/quickstart.yaml --executor inline --out build/quickstart
	$(BIN)/cluster-sim report build/quickstart
	$(BIN)/python scripts/screenshot_report.py build/quickstart/report.html --out build/screenshots

pin-images: $(STAMP)  ## Write the digests of the images into docker-compose.yml and Dockerfile (needs Docker).
	$(BIN)/python scripts/pin_images.py

docs: $(VENV)/.docs  ## Build the site of docs/ into site/.
	$(BIN)/python -m mkdocs build --strict --quiet
	@echo "site/index.html"

$(VENV)/.docs: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[docs]'
	@touch $@

bench: $(STAMP)  ## Measure the speed of the simulation.
	$(BIN)/python scripts/bench.py

acceptance: $(STAMP)  ## Tests that take minutes.
	$(BIN)/python -m pytest -m acceptance --timeout 3600

matrix: $(STAMP)  ## Quick tests on each supported Python that is there.
	$(BIN)/python scripts/python_matrix.py

fuzz: $(STAMP)  ## Mutate files of every reader (COUNT=2000 SEED=1).
	$(BIN)/python -m tests.fuzz --count $(or $(COUNT),2000) --seed $(or $(SEED),1)

soak: $(STAMP)  ## Compare random studies between executors, and kill processes of Ray (HOURS=1 SEED=1 KILLS=60).
	$(BIN)/python -m tests.faults --kills $(or $(KILLS),60) --seed $(or $(SEED),1)
	$(BIN)/python -m tests.soak --hours $(or $(HOURS),1) --seed $(or $(SEED),1)

clean:  ## Remove the environment and caches.
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist site cluster_sim_kernel cluster_sim_kernel__mypyc.*
