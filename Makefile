# Two commands do everything: `make run` and `make test`. Needs Python ≥ 3.11 and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# uv fetches and unpacks in parallel: seconds instead of minutes. It is installed inside the environment.
# Compiling at once takes half a minute and saves each later process, of which a run has several, some seconds.
INSTALL := $(BIN)/python -m uv pip install --quiet --compile-bytecode --python $(BIN)/python --constraint constraints.txt

.PHONY: run test lint docs setup bench-throughput bench-training bench-techniques bench-unlabeled bench-search bench-statistics bench-quality bench-carry-over bench-imbalance bench-compare bench-exported bench-driver bench-gpu bench-leak chaos fuzz lowest clean

run: $(VENV)/.installed
	$(BIN)/augsearch run

# A process a core, as far as there is memory; PYTEST_ARGS="-n 0" for one alone, or "-k NAME" for some tests.
test: $(VENV)/.tested-with
	$(BIN)/python -m pytest -n auto --dist worksteal $(PYTEST_ARGS)

# With the benchmarks' peers, for mypy checks the benchmarks too.
lint: $(VENV)/.tested-with $(VENV)/.benchmarked-with
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The site, in build/docs; a broken link, a page that is in no part of it or a warning ends the build.
docs: $(VENV)/.documented-with
	$(BIN)/sphinx-build -q -W --keep-going --fresh-env -j auto -c docs/site . build/docs

setup: $(VENV)/.tested-with

# Beside the other libraries that augment images; BENCH_ARGS="--quick" for a short form, "--help" for more.
bench-throughput: $(VENV)/.benchmarked-with
	$(BIN)/python -m benchmarks.throughput $(BENCH_ARGS)

# What this project would know of a GPU: is it right, then how fast; under ten minutes.
bench-gpu: $(VENV)/.benchmarked-with $(VENV)/.tested-with
	$(BIN)/python -m benchmarks.gpu $(BENCH_ARGS)

# Beside the training that everybody writes; BENCH_ARGS as above.
bench-training: $(VENV)/.installed
	$(BIN)/python -m benchmarks.training $(BENCH_ARGS)

# Transfer and distillation beside training without them; needs BENCH_ARGS="--flowers DIR --cifar DIR".
bench-techniques: $(VENV)/.benchmarked-with
	$(BIN)/python -m benchmarks.techniques $(BENCH_ARGS)

# One policy in every exported form; needs BENCH_ARGS="--flowers DIR".
bench-exported: $(VENV)/.benchmarked-with $(VENV)/.trained-with $(VENV)/albumentations-2.0.8
	$(BIN)/python -m benchmarks.exported $(BENCH_ARGS)

# What unlabeled images bring; BENCH_ARGS="--cifar DIR" for CIFAR-10 too, "--cost" for what they cost.
bench-unlabeled: $(VENV)/.installed
	$(BIN)/python -m benchmarks.unlabeled $(BENCH_ARGS)

# The exported policy beside the baselines; BENCH_ARGS="--cifar DIR --flowers DIR --workers 2" for all data sets.
bench-quality: $(VENV)/.installed
	$(BIN)/python -m benchmarks.quality $(BENCH_ARGS)

# Whether short trainings rank policies as a pretrained network does; needs BENCH_ARGS="--images DIR --workers 2".
bench-carry-over: $(VENV)/.installed
	$(BIN)/python -m benchmarks.carry_over $(BENCH_ARGS)

# Macro-F1 of each --class-balance on images as they are; needs BENCH_ARGS="--images DIR --workers 2".
bench-imbalance: $(VENV)/.installed
	$(BIN)/python -m benchmarks.imbalance $(BENCH_ARGS)

# The search beside random search and the baselines alone, live; BENCH_ARGS="--workers 2 --markdown PAGE".
bench-compare: $(VENV)/.installed
	$(BIN)/python -m benchmarks.compare $(BENCH_ARGS)

# Pruners, samplers and random search, replayed on recorded folds: BENCH_ARGS="--markdown PAGE", or --quick.
bench-search: $(VENV)/.installed
	$(BIN)/python -m benchmarks.search $(BENCH_ARGS)

# How often the verdict is right, simulated from recorded fold noise: ten minutes, or BENCH_ARGS=--quick.
bench-statistics: $(VENV)/.installed
	$(BIN)/python -m benchmarks.statistics $(BENCH_ARGS)

# What a trial costs the driver, in SQLite and PostgreSQL: BENCH_ARGS="--markdown PAGE", "--many 5000" for a long study.
bench-driver: $(VENV)/.tested-with
	$(BIN)/python -m benchmarks.driver $(BENCH_ARGS)

# Whether grouped test scores agree with fresh images; needs BENCH_ARGS="--cifar DIR".
bench-leak: $(VENV)/.installed
	$(BIN)/python -m benchmarks.leak $(BENCH_ARGS)

# Everything that a search needs is killed, fifty times, and it comes to the same: CHAOS_ARGS="--short" for a handful. Needs root.
chaos: $(VENV)/.tested-with
	$(BIN)/python -m benchmarks.chaos $(CHAOS_ARGS)

# Readers of strangers' files are given damaged ones for an hour; FUZZ_ARGS="--minutes 1 --only images" for a look.
fuzz: $(VENV)/.tested-with
	$(BIN)/python -m benchmarks.fuzz $(FUZZ_ARGS)

# With the lowest versions that pyproject.toml allows, in an environment of their own: some gigabytes, so not in .ci/run.
# What old versions do is deprecated by newer ones that they use.
LOWEST := build/lowest
LOWEST_TESTS ?= tests/policies tests/search/tracking tests/search/report tests/search/test_cli.py
lowest: $(VENV)/.tested-with
	$(BIN)/python -m uv venv --quiet --clear --python $(BIN)/python $(LOWEST)
	$(BIN)/python -m uv pip compile --quiet --resolution lowest-direct pyproject.toml --output-file $(LOWEST)/lowest.txt
	$(BIN)/python -m uv pip install --quiet --python $(LOWEST)/bin/python --requirement $(LOWEST)/lowest.txt
	$(BIN)/python -m uv pip install --quiet --python $(LOWEST)/bin/python --no-deps --editable .
	grep -E '^(hypothesis|pytest|pytest-xdist|ruff|selenium)==' constraints.txt > $(LOWEST)/tools.txt
	$(BIN)/python -m uv pip install --quiet --python $(LOWEST)/bin/python --constraint $(LOWEST)/lowest.txt --requirement $(LOWEST)/tools.txt
	$(LOWEST)/bin/python -m pytest -n auto -W ignore::DeprecationWarning $(LOWEST_TESTS) $(PYTEST_ARGS)

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and "augsearch needs Python 3.11 or newer, and $(PYTHON) is %d.%d; try: make PYTHON=python3.12" % v[:2])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt uv

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(INSTALL) --editable .
	touch $@

$(VENV)/.tested-with: $(VENV)/.installed
	$(INSTALL) --editable '.[dev]'
	touch $@

$(VENV)/.documented-with: $(VENV)/.installed
	$(INSTALL) --editable '.[docs]'
	touch $@

$(VENV)/.benchmarked-with: $(VENV)/.installed
	$(INSTALL) --editable '.[bench]'
	touch $@

# What the pages of docs/training-with train with. Ultralytics (AGPL-3.0) comes without what it needs: opencv-python
# would write over opencv-python-headless.
$(VENV)/.trained-with: $(VENV)/.tested-with
	$(INSTALL) --editable '.[others]' fastai polars
	$(INSTALL) --no-deps ultralytics ultralytics-thop
	touch $@

# The last Albumentations with an MIT licence, for tests of files made for it; the name belongs to AlbumentationsX.
$(VENV)/albumentations-2.0.8: | $(VENV)/.tested-with
	$(BIN)/python -m uv pip install --quiet --python $(BIN)/python --no-deps --target $@ albumentations==2.0.8 albucore==0.0.24 simsimd==6.5.16

clean:
	rm -rf $(VENV) build dist *.egg-info
