PYTHON ?= python3
BIN = .venv/bin

.PHONY: venv train test test-all compiled lint bench figures
venv: $(BIN)/.installed

$(BIN)/.installed: setup.cfg constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[dev]" && touch $@

train: venv
	$(BIN)/python -m monai.bundle run training --config_file bundles/scribble/train.json

# A file's tests stay in one process, which makes what they share once. By name the longest files (bundles) come early;
# xdist would begin with those of most tests, which are short, and end in one process with a long one.
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder
test: lint compiled
	$(PYTEST) -m "not longest"

test-all: lint compiled
	$(PYTEST)

# The solver's loops, once, and not by each of the tests' processes for itself
compiled: venv
	$(BIN)/python -m pytest tests/solvers/test_extension.py -k known_terms_are_compiled

lint: venv
	$(BIN)/black -q --check --diff -l 120 medwsss data_prep tests
	$(BIN)/isort -c medwsss data_prep tests && $(BIN)/flake8 medwsss data_prep tests && $(BIN)/mypy medwsss data_prep

bench: venv
	$(BIN)/python -m tests.benchmarks

# Figure 3(d)'s runs take minutes: delete its .json to repeat them
figures: venv docs/figures/label_corruption.json
	$(BIN)/python -m tests.benchmarks.figures

docs/figures/label_corruption.json: | venv
	$(BIN)/python -m tests.benchmarks.label_corruption
