# Each command makes .venv first, where it is missing or older than pyproject.toml.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
DEMO := runs/demo
IMAGE := gb-keras:0.1.0
# More options of the engine's command to build, such as --build-arg.
IMAGE_OPTIONS :=
# The first that answers: a client of docker may be there without its daemon.
ENGINE = $(shell for each in docker podman buildah; do \
	$$each info >/dev/null 2>&1 && { echo $$each; break; }; done)
# A folder of its own for each run, so that none reports what older code has learned.
LEARNED := runs/bench/$(shell date +%Y-%m-%d-%H-%M-%S)
# Models of cluster objects that tests take schemas from. Their packages need other versions of what
# this environment has, so they lie apart, and nothing imports them.
SCHEMAS := kubeflow-training==1.9.4 kserve==0.21.0

help:  ## Say what can be made
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[all]' --group dev
	$(BIN)/pip install --quiet --no-deps --upgrade --target $(VENV)/schemas $(SCHEMAS)
	touch $(INSTALLED)

demo: $(INSTALLED)  ## Run the pipeline: prepare, train twice, evaluate, compare (runs/demo)
	$(BIN)/python -m pipelines.train_and_evaluate --local --output $(DEMO) \
		--dataset mnist5k --long-tail-factor 100 --epochs 20

test: lint  ## Lint, types, doctests and tests, warnings as errors
	$(BIN)/pytest --numprocesses auto --maxprocesses 8 --dist loadgroup

lint: $(INSTALLED)  ## Lint and types alone
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test-minimum:  ## The tests of the library with the oldest versions that pyproject.toml allows
	$(PYTHON) -m venv .venv-minimum
	.venv-minimum/bin/pip install --quiet 'uv>=0.5'
	.venv-minimum/bin/uv pip install --quiet --python .venv-minimum/bin/python \
		--resolution lowest-direct --editable '.[all]' --group dev
	.venv-minimum/bin/uv pip install --quiet --python .venv-minimum/bin/python \
		--no-deps --target .venv-minimum/schemas $(SCHEMAS)
	# Old versions have warnings of their own, which are not errors of ours.
	.venv-minimum/bin/pytest --numprocesses auto --maxprocesses 8 --dist loadgroup \
		--override-ini filterwarnings=default

image:  ## Build the image with docker, podman or buildah, whichever is there
	@test -n "$(ENGINE)" || { echo "Install docker, podman or buildah first." >&2; exit 1; }
	$(ENGINE) build --tag $(IMAGE) $(IMAGE_OPTIONS) .

image-check: $(INSTALLED) image  ## Build the image and run it: training, components, as any user
	GB_KERAS_IMAGE=$(IMAGE) GB_KERAS_ENGINE=$(ENGINE) $(BIN)/pytest tests/image

bench: $(INSTALLED)  ## Step time, memory, cost of the TensorBoard page; learning, the quick suite
	$(BIN)/python -m benchmarks.overhead run
	$(BIN)/python -m benchmarks.dashboard
	$(BIN)/python -m benchmarks.learning run --suite quick --seeds 3 --results $(LEARNED)
	$(BIN)/python -m benchmarks.learning report --suite quick --results $(LEARNED)

.PHONY: help demo test lint test-minimum bench image image-check
