# The two commands of a newcomer are `make demo` and `make test`; each sets up what it needs.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
CONFIG ?= config.yaml
# pytest-timeout bounds every test. Two at a time: a file's tests stay together.
PYTEST_ARGS ?= --numprocesses 2 --dist loadfile
# Many images set this. Without bytecode each process compiles all it imports: 3 s of CPU for a command, 20 for a network's conversion.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test serve check bench faults sbom clean

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25"
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt "torch==2.13.0" --editable .
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt "torch==2.13.0" --editable ".[test]"
	touch $@

demo: $(VENV)/.installed
	$(BIN)/tumor-node demo

test: $(VENV)/.installed-test
	sh tests/install-peers.sh
	$(BIN)/python -m pytest $(PYTEST_ARGS)

serve: $(VENV)/.installed
	$(BIN)/tumor-node serve --config $(CONFIG)

check: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.installed-test
	$(BIN)/python -m benchmarks

faults: $(VENV)/.installed-test
	$(BIN)/python -m tests.acceptance.kill_campaign --rounds 20
	$(BIN)/python -m tests.acceptance.kill_thousand --kills 1000
	$(BIN)/python -m tests.acceptance.kill_thousand --kills 300 --database postgresql --workers 3
	$(BIN)/python -m tests.acceptance.edge_faults --rounds 200

sbom: $(VENV)/.installed
	mkdir -p var
	$(BIN)/tumor-node sbom --out var/sbom.cdx.json

clean:
	rm -rf $(VENV) var build *.egg-info
