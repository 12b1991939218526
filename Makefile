# make demo, make test: everything else is below them. Needs Python 3.11 or newer, pip and make.
PYTHON ?= python3
BIN := .venv/bin
# Compiled modules are kept whatever the environment says: each process that trains imports thousands of them.
export PYTHONDONTWRITEBYTECODE =

.PHONY: setup demo test test-cluster lint bench soak clean

setup: .venv/ready

# uv installs in half a minute what takes pip four.
.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable . --group dev
	touch $@

demo: setup
	$(BIN)/stoker submit jobs/vision/digits-cnn.yaml
	@echo
	@echo "The MLflow page of it:  $(BIN)/stoker ui @last"

# One process more than cores: some tests wait for Ray to start or for a process to end.
TEST_PROCESSES = $(shell echo $$(($$(getconf _NPROCESSORS_ONLN) + 1)))

test: setup
	$(BIN)/pytest --numprocesses $(TEST_PROCESSES) --maxprocesses 4 --dist loadfile --no-loadscope-reorder --session-timeout 3600

# On the cluster that KUBECONFIG names, with the chart in its namespace `stoker`.
test-cluster: setup
	$(BIN)/pytest -m cluster tests/cluster $(OPTIONS)

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy bench
	$(BIN)/lint-imports

bench: setup
	for benchmark in cli train_cnn train_unet train_diffusion train_decoder padding train_cnn_workers overlap loop_overhead metrics checkpoint start recovery own_code sweep data photos table streaming evaluation gpu; do $(BIN)/python bench/$$benchmark.py || exit 1; done

# The examples of other libraries need these libraries.
soak: setup
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --group examples
	$(BIN)/pytest -m "slow and not cluster"

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
