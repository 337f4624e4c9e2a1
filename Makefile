# `make` alone explains the verbs. Every data verb takes CONFIG=<yaml> and SET="key=value ...".
SHELL := /bin/bash
VENV ?= .venv
PYTHON ?= python3
RUN := $(VENV)/bin/python -m flows
OPTIONS = $(if $(CONFIG),--config $(CONFIG)) $(SET)
DAILY = --config $(or $(CONFIG),configs/schedules.yaml) $(SET)
PYTEST := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n 2 \
	--jaxtyping-packages=pipelines,sahmr,beartype.beartype

.DEFAULT_GOAL := help
.PHONY: help setup pseudo-gt shards look export-shards verify train evaluate ablation marker-errors moved-scenes egobody-capture report all demo plan status server worker deploy schedule-check close-zombies synthesise init capture-example doctor survey compare train-priors calibrate-quality bench test test-all lint format clean

help: ## explain the verbs
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo '  options: CONFIG=configs/pseudo_gt/prox.yaml  SET="prox.root=/data/prox runner.workers=4"'

setup: $(VENV)/.installed ## create .venv and install everything (done by the other verbs when needed)
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "Python 3.11 or newer is needed"'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -e ".[dev]" -c constraints.txt
	touch $@

pseudo-gt: setup ## regenerate the ground truth and print the table (embedded data unless prox.root is set)
	$(RUN) pseudo-gt $(OPTIONS)

shards: setup ## write training shards of the last run (or of true bodies: CONFIG=configs/shards/truth.yaml)
	$(RUN) shards $(OPTIONS)

look: setup ## draw samples of shards: a contact sheet, one sample in 3D: make look SET="shards=... order=worst"
	$(RUN) look $(OPTIONS)

export-shards: setup ## shards as AMASS npz, PROXD pickles or SA-HMR's files: make export-shards SET="to=amass shards=..."
	$(RUN) export-shards $(OPTIONS)

verify: setup ## check every byte of shards: make verify SHARDS=outputs/shards [QUARANTINE=1]
	$(RUN) verify $(or $(SHARDS),outputs/shards) $(if $(QUARANTINE),--quarantine)

train: setup ## train SA-HMR and METRO on the shards, preset tiny; goes on where it stopped
	$(RUN) train $(OPTIONS)

evaluate: setup ## measure the trained networks on held-out shards and print the paper's table
	$(RUN) evaluate $(OPTIONS)

report: setup ## one page about a finished run: make report SET="run=outputs/pseudo-gt/first-run"
	$(RUN) report $(OPTIONS)

marker-errors: setup ## fits of a run on PROX quantitative against marker capture: make marker-errors SET="run=..."
	$(RUN) marker-errors $(OPTIONS)

moved-scenes: setup ## take out of PROX's rooms what was moved after the scan: make moved-scenes SET="prox.root=..."
	$(RUN) moved-scenes $(OPTIONS)

egobody-capture: setup ## a person of EgoBody -> a tree to fit: make egobody-capture SET="egobody.root=... keypoints=... recording=..."
	$(RUN) egobody-capture $(OPTIONS)

ablation: setup ## train and measure contact categories, quality weights, fits against true bodies
	$(RUN) ablation $(OPTIONS)

all: setup ## pseudo-gt, shards, train, evaluate, report, one after another
	$(RUN) all $(OPTIONS)

demo: setup ## the same, small, on the embedded data, in a quarter of an hour; ends with the report's path
	$(RUN) demo $(OPTIONS)

plan: setup ## what a command would run, why, and what it takes: make plan OF=all (default pseudo-gt)
	$(RUN) plan $(OF) $(OPTIONS)

status: setup ## how far a run is, and what failed: make status OF=train, or OF=<folder of a run>
	$(RUN) status $(OF) $(OPTIONS)

server: setup ## run a Prefect server: pages, schedules, history (http://127.0.0.1:4200)
	$(RUN) server $(DAILY)

worker: setup ## run a worker that executes what the server schedules
	$(RUN) worker $(DAILY)

deploy: setup ## put flows and the schedules of configs/schedules.yaml on the server
	$(RUN) deploy $(DAILY)

schedule-check: setup ## prove that scheduled runs exist and that a worker executes them
	$(RUN) schedule-check $(DAILY)

close-zombies: setup ## close runs on the server whose process is gone (deploy and worker do it too)
	$(RUN) close-zombies $(DAILY)

synthesise: setup ## only write the synthetic PROX tree
	$(RUN) synthesise $(OPTIONS)

init: setup ## one's own capture -> a tree to fit, and a page that says what is wrong: make init CONFIG=my/capture.yaml
	$(RUN) init $(OPTIONS)

capture-example: setup ## write a small capture to try init on: make capture-example SET="kind=azure"
	$(RUN) capture-example $(OPTIONS)

doctor: setup ## say what is present, missing or broken, and where to get each licensed file
	$(RUN) doctor $(OPTIONS)

survey: setup ## say which data set a folder holds, and what of it: make survey DATA=/data/RICH
	$(RUN) survey $(DATA)

compare: setup ## compare two metric reports: make compare A=.../metrics.json B=.../metrics.json
	$(RUN) compare $(A) $(B)

train-priors: setup ## train the shipped motion, pose and initial-state priors again
	$(RUN) train-priors $(OPTIONS)

calibrate-quality: setup ## make the error model of the quality scores again and test it (an hour)
	$(RUN) calibrate-quality $(OPTIONS)

bench: setup ## measure our solvers beside the official ones: make bench BENCH="fitting --frames 16"
	$(VENV)/bin/python -m benchmarks $(BENCH)

test: setup ## the test suite, under 10 minutes on 2 cores
	$(PYTEST) -m "not slow"

test-all: setup ## also the slow tests
	$(PYTEST)

lint: setup ## ruff, mypy, import contracts
	$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check . && $(VENV)/bin/mypy && $(VENV)/bin/lint-imports

format: setup ## format the code
	$(VENV)/bin/ruff format . && $(VENV)/bin/ruff check --fix .

clean: ## remove results and caches, keep the environment
	rm -rf outputs .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info
