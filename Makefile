# Everything lives in .venv/ and .workbench/; `make clean` removes both and nothing else.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
UV_VERSION := 0.13.9

.PHONY: setup demo leaderboard test soak faults lint format lab sample lock fuzz clean

setup: $(READY)

$(READY): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv==$(UV_VERSION)
	$(BIN)/python -m uv pip install --python $(BIN)/python --require-hashes -r requirements.lock
	$(BIN)/python -m uv pip install --python $(BIN)/python --no-deps -e .
	touch $(READY)

demo: setup  ## the main job on the sample archive in data/, ending with a report
	$(BIN)/workbench demo

test: setup lint  ## everything that CI runs
	$(BIN)/python -m pytest

soak: setup  ## 500 small runs with 8 jobs, stopped in the middle and resumed: about 20 minutes
	SOAK_RUNS=500 $(BIN)/python -m pytest tests/runs/test_soak.py

faults: setup  ## 1,000,000 readings through 20 killed processes: about ten minutes
	FAULTS_READINGS=1000000 FAULTS_ROUNDS=4 $(BIN)/python -m pytest -s tests/stream/test_faults.py

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

leaderboard: setup  ## NAB's tables and figures, as notebooks/60_leaderboard reports them
	$(BIN)/workbench train notebooks/60_leaderboard.ipynb -f params/60_leaderboard-vus_pr.yaml
	$(BIN)/workbench train notebooks/60_leaderboard.ipynb -f params/60_leaderboard-nab.yaml

lab: setup
	$(BIN)/workbench lab

sample: setup  ## make data/ anew: simulated pumps through a real broker, offloaded to a real S3 endpoint
	$(BIN)/python data/make_sample.py

lock: setup  ## resolve pyproject.toml into requirements.lock
	$(BIN)/python -m uv pip compile pyproject.toml --extra dev --python-version 3.11 \
		--generate-hashes --no-annotate --no-header --quiet -o requirements.lock

fuzz: setup  ## thousands of damaged objects, about half an hour
	WORKBENCH_FUZZ=5000 $(BIN)/python -m pytest tests/archive/test_fuzz.py --timeout=0

clean:
	[ ! -x $(BIN)/workbench ] || $(BIN)/workbench services down
	rm -rf $(VENV) .workbench
