# Every target makes .venv and installs into it by itself, again when pyproject.toml or constraints.txt changed.

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check
DOORS := embedding reranker
CHECKED := src tests benchmarks $(DOORS)

.DEFAULT_GOAL := help
.PHONY: help demo test check bench bench-quality install

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: $(INSTALLED) ## mine, train and evaluate on the documentation of this Python, offline, in about ten minutes on two cores
	$(BIN)/sharprank demo

test: $(INSTALLED) ## the tests, offline, on CPU
	$(BIN)/python -m pytest -q

check: $(INSTALLED) ## lint, format, types, import floors
	$(BIN)/ruff check $(CHECKED)
	$(BIN)/ruff format --check $(CHECKED)
	$(BIN)/pyright
	$(BIN)/lint-imports

bench: $(INSTALLED) ## speed beside FlagEmbedding and sentence-transformers (make bench FULL=1: longer)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.speed $(if $(FULL),--full)

bench-quality: $(INSTALLED) ## rankings beside theirs, hours, resumable (make bench-quality DATA=folder of collections)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.quality $(if $(DATA),--data $(DATA),--collections python_docs)

install: $(INSTALLED) ## only make .venv

# torch first, by itself: the build (CPU or CUDA) is the one that your package index offers first.
$(INSTALLED): pyproject.toml constraints.txt
	@test -x $(BIN)/python || sh .ci/make_venv $(VENV)
	$(PIP) install -q -c constraints.txt torch
	$(PIP) install -q -c constraints.txt -e '.[demo,dev]'
	@touch $@
