# Everything lives in .venv/, .venv-core/ and .workbench/; `make clean` removes these alone.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
UV_VERSION := 0.13.9
# a newer Python for `make core`: of pyenv if it has one, else from PATH
CORE_PYTHON ?= $(firstword $(wildcard $(addsuffix /bin/python,$(wildcard $(or $(PYENV_ROOT),$(HOME)/.pyenv)/versions/3.13*))) $(shell command -v python3.13))
CORE := .venv-core
CORE_TESTS := tests/core tests/archive tests/detectors tests/evaluation tests/figures tests/times tests/runs
# of bytes alone, which no library of today's reads: `quick` has them
CORE_IGNORED := $(addprefix --ignore=tests/,archive/values/test_budget.py archive/format/test_damage.py archive/format/test_small_lz4.py detectors/test_hostile_packages.py)

# public labelled sets, which are no part of this project
SHARED := ../shared/data
NAB := $(or $(WORKBENCH_NAB),$(SHARED)/nab)

# what `quick` leaves out; `core` leaves out all but what starts an S3 stand-in
LIVE := pulsar or flink or notebook or slow or server

# A process that may not keep its bytecode compiles pandas, Beam and PyFlink anew: 10 of 15 s of a job's Python.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup demo leaderboard test live beside quick core soak faults wheel lint format lab sample lock fuzz oracle api clean

setup: $(READY)

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { \
	echo "make setup: $(PYTHON) is not Python 3.11, which Flink's Python needs: name one, as PYTHON=/usr/bin/python3.11"; \
	echo "(on 3.12 and 3.13: pip install '.[stream,notebooks]'; what needs Flink is handed to a 3.11 that is made for it)"; \
	exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv==$(UV_VERSION)
	$(BIN)/python -m uv pip install --python $(BIN)/python --require-hashes -r requirements.lock
	$(BIN)/python -m uv pip install --python $(BIN)/python --no-deps -e .
	touch $(READY)

demo: setup  ## the main job on the sample archive in data/, ending with a report
	$(BIN)/workbench demo

test: lint  ## everything that CI runs: what starts servers, and the rest in the time that waiting leaves
	$(MAKE) --jobs=2 live beside

# Brokers, JobManagers and kernels share two cores here, and some die at random moments on purpose: a
# live test that fails is tried once more, and `-ra` names it. What is quick has no second try.
# Three at a time, since they wait for servers about as long as they compute.
live: setup  ## the tests that start servers, Flink, kernels, or take seconds
	$(BIN)/python -m pytest -p tests.scheduling -n 3 --dist loadfile --reruns 1 -m "$(LIVE)" tests

beside: setup  # gives way to the live tests
	nice -n 5 $(MAKE) --jobs=1 quick core

quick: setup  ## the tests that need no server, no Flink and no kernel
	$(BIN)/python -m pytest -q -n auto -m "not ($(LIVE))"

core: setup  ## what needs no Flink, on Python 3.13 with today's libraries, and packages across both
ifeq ($(CORE_PYTHON),)
	@echo "make core: no Python 3.13 here, so nothing is tested on it; name one: CORE_PYTHON=..."
else
	[ -x $(CORE)/bin/python ] || $(BIN)/python -m uv venv --quiet --python $(CORE_PYTHON) $(CORE)
	$(BIN)/python -m uv pip install --quiet --python $(CORE)/bin/python --require-hashes -r requirements-core.lock
	$(BIN)/python -m uv pip install --quiet --python $(CORE)/bin/python --no-deps -e .
	WORKBENCH_FLINK_PYTHON=$(CURDIR)/$(BIN)/python $(CORE)/bin/python -m pytest -q -n auto -W default \
		-m "not ($(subst or server,,$(LIVE)))" $(CORE_IGNORED) $(CORE_TESTS)
endif

soak: setup  ## 500 small runs with 8 jobs, stopped in the middle and resumed: about 20 minutes
	SOAK_RUNS=500 $(BIN)/python -m pytest tests/runs/execution/test_soak.py

faults: setup  ## 5,000,000 readings of Pulsar and Kafka through 100 kills, and pauses: two hours
	FAULTS_MINUTES=110 $(BIN)/python -m pytest -s tests/stream/running/faults

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# SETS=FOLDER: labelled series, or folders of them, as `workbench benchmark` takes them
leaderboard: setup  ## labelled sets (61_benchmark; SETS=FOLDER for yours) and NAB (60_leaderboard), a report for each
ifdef SETS
	$(BIN)/workbench benchmark $(SETS) --report
else ifneq ($(wildcard $(SHARED)/multivariate),)
	$(BIN)/workbench train notebooks/61_benchmark.ipynb -f params/61_benchmark.yaml
else
	@echo "make leaderboard: there is no folder $(SHARED)/multivariate, so no sets beside NAB are judged; name some: SETS=FOLDER"
endif
ifneq ($(wildcard $(NAB)/labels),)
	$(BIN)/workbench train notebooks/60_leaderboard.ipynb -f params/60_leaderboard-vus_pr.yaml
	$(BIN)/workbench train notebooks/60_leaderboard.ipynb -f params/60_leaderboard-nab.yaml
else
	@echo "make leaderboard: there is no NAB in $(NAB), so it is not judged; say where it is: WORKBENCH_NAB=FOLDER"
endif

lab: setup
	$(BIN)/workbench lab

sample: setup  ## make data/ anew: simulated pumps through a real broker, offloaded to a real S3 endpoint
	$(BIN)/python data/make_sample.py

lock: setup  ## resolve pyproject.toml into requirements.lock
	$(BIN)/python -m uv pip compile pyproject.toml --extra dev --extra stream --extra notebooks --extra serve --extra lakes --extra search --extra kafka --extra spark --python-version 3.11 \
		--generate-hashes --no-annotate --no-header --quiet -o requirements.lock
	$(BIN)/python -m uv pip compile pyproject.toml --extra dev --extra lakes --extra search --python-version 3.13 \
		--generate-hashes --no-annotate --no-header --quiet -o requirements-core.lock

oracle: setup  ## what the Java client makes of generated topics, recorded anew for the tests
	$(BIN)/python -m tests.archive.oracle.record

api: setup  ## docs/api/ from the docstrings
	$(BIN)/python docs/make_api.py

wheel: setup  ## a built wheel, alone in an empty folder: sample, tour and the whole demo
	WORKBENCH_WHEEL_DEMO=1 $(BIN)/python -m pytest tests/test_wheel.py

fuzz: setup  ## thousands of damaged objects, schemas and values, about half an hour
	WORKBENCH_FUZZ=5000 $(BIN)/python -m pytest tests/archive/values/test_fuzz.py tests/archive/values/test_budget.py \
		tests/archive/values/test_protobuf_budget.py tests/stream/definition/test_hostile_streams.py --timeout=0

clean:
	[ ! -x $(BIN)/workbench ] || $(BIN)/workbench services down
	rm -rf $(VENV) $(CORE) .workbench
