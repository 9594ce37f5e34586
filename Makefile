# Needs Python 3.11, 3.12 or 3.13 and make (GNU make 3.81 or newer), nothing else. uv is used where it is there.

STUDY ?= lead
JOBS ?= 2
PYTEST ?=
EVENTS ?= 2e4,1e6,1e7
ROUNDS ?= 3
BENCH ?=
BUDGET ?= 40
PYTHON ?=
export PYTHON
BIN := .venv/bin
# Jupyter refuses root unless it is told that this is meant; in a container there is often no other user.
AS_ROOT = $(if $(filter 0,$(shell id -u)),--allow-root)

.DEFAULT_GOAL := help
.PHONY: help setup report test lab lint check examples bench-features bench-models environment lock upgrade clean

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo "  STUDY=$(STUDY)  which params/<study>.yaml to run       PYTEST=\"-k name\"  more words for pytest"
	@echo "  JOBS=$(JOBS)      test processes                         PYTHON=python3.12 the Python to set up with"
	@echo "  EVENTS=$(EVENTS)  sizes of the benchmark's log      BENCH=\"--ways floor,crmlab\"  more words for it"

setup:  ## Build .venv from requirements.lock; at once when nothing changed
	@python=$$(sh tools/find_python.sh) && "$$python" tools/setup_venv.py

report: setup  ## Run a study end to end and say where reports/index.html is
	@$(BIN)/crmlab run "$(STUDY)"

test: setup  ## Run every test
	@$(BIN)/python -m pytest -n $(JOBS) --dist=worksteal $(PYTEST)

lab: setup  ## Open the notebooks in JupyterLab
	@$(BIN)/python -m jupyterlab $(AS_ROOT) --ServerApp.root_dir=. --LabApp.default_url=/lab/tree/notebooks

lint: setup  ## Check code, notebooks and generated files without running a test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/crmlab notebooks check
	$(BIN)/python tools/conda_environment.py --check
	$(BIN)/python tools/check_files.py

check: lint test  ## lint, then test: what CI runs

examples: setup  ## Run the small study and renew reports/examples
	@$(BIN)/crmlab examples

bench-features:  ## Measure the feature engine against other tools, in .venv-bench (about 20 minutes)
	@python=$$(sh tools/find_python.sh) && "$$python" benchmarks/setup_bench.py
	@PYTHONPATH=benchmarks .venv-bench/bin/python -m features_bench --events "$(EVENTS)" --rounds "$(ROUNDS)" $(BENCH)

bench-models: setup  ## Measure the default model against other tools on real data, in .venv-models (about an hour)
	@python=$$(sh tools/find_python.sh) && "$$python" benchmarks/setup_models_bench.py || echo "Going on without them."
	@PYTHONPATH=benchmarks $(BIN)/python -m models_bench --budget "$(BUDGET)" $(BENCH)

environment: setup  ## Write environment.yml from pyproject.toml
	@$(BIN)/python tools/conda_environment.py

lock:  ## Write requirements.lock from pyproject.toml, keeping the pins that still fit (needs uv)
	@python=$$(sh tools/find_python.sh) && "$$python" tools/relock.py

upgrade:  ## The same with the newest versions that pyproject.toml allows
	@python=$$(sh tools/find_python.sh) && "$$python" tools/relock.py --upgrade

clean:  ## Remove .venv and caches; data/ and reports/ stay
	rm -rf .venv .venv-bench .venv-featuretools .venv-models .pytest_cache .ruff_cache .hypothesis
	find src tests tools notebooks benchmarks \( -name __pycache__ -o -name .ipynb_checkpoints \) -prune -exec rm -rf {} +
