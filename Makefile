# make demo | make test | make bench: each does all its own set-up in .venv
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# e.g. TORCH_FLAGS="--index-url https://download.pytorch.org/whl/cpu" for the small build without CUDA
TORCH_FLAGS ?=

.PHONY: demo test test-all lint bench clean

demo: $(READY)
	$(BIN)/selfmoa align demo --on-existing resume

test: $(READY) lint
	$(BIN)/selfmoa assets pull --suite standard
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal -m "not slow"

test-all: test
	$(BIN)/pytest -m slow

lint: $(READY)
	$(BIN)/ruff check src tests
	$(BIN)/ruff format --check src tests
	$(BIN)/mypy

bench: $(READY)
	$(BIN)/python -m benchmarks.speed

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet $(TORCH_FLAGS) "$$(grep '^torch==' constraints.txt)"
	$(BIN)/pip install --quiet -c constraints.txt -e ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
