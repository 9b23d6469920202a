PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SPACE ?=
PAGE ?= results/sources/report.html

.DEFAULT_GOAL := sweep
.PHONY: sweep test test-slow lint bench screenshot clean

# A stamp a set of extras: installing again when nothing changed takes no time.
$(VENV)/.installed-%: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	    --constraint constraints.txt --editable '.$(if $(filter run,$*),,[$*])'
	touch $@

sweep: $(VENV)/.installed-run
	$(BIN)/mnist-ray sweep $(SPACE)

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

test-slow: $(VENV)/.installed-test
	$(BIN)/python -m pytest tests/slow

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry mnist_ray

bench: $(VENV)/.installed-test
	PYTHONPATH=tests/support $(BIN)/python benchmarks/bench.py

# The picture in README.md: the top of a real page, without its images.
screenshot:
	chromium --headless --no-sandbox --hide-scrollbars --window-size=1100,1800 \
	    --screenshot=docs/report.png "file://$(abspath $(PAGE))"

clean:
	rm -rf $(VENV) build dist *.egg-info
