# make run    the hub on http://127.0.0.1:3000        make test   every test
# make check  format, lint, strict types              make bench  what a chat answer costs
#
# Needs Python 3.11 or newer; another one than `python3` by PYTHON=/path/to/python.

PYTHON ?= python3
UV     ?= uv
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# Pipecat, which phones the hub in one test, needs an environment of its own (some 400 MB).
export PIPECAT_VENV ?= .venv-pipecat
PIPECAT := $(PIPECAT_VENV)/.installed
# What tests drive and pip can't bring: a proxy, a browser, other audio formats, another voice.
SYSTEM := caddy chromium ffmpeg flite

.PHONY: install run test test-pipecat check format bench lock system clean

install: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit("Tron needs Python 3.11 or newer, and $(PYTHON) is %d.%d: try `make PYTHON=python3.11 $(MAKECMDGOALS)`" % v[:2])'
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

run: install
	$(BIN)/tron serve

# One file or folder: make test ARGS=tests/unit
test: install system
	$(BIN)/pytest $(ARGS)
	@[ -e $(PIPECAT) ] || echo "Not run: Pipecat as a caller of the hub. To run it: make test-pipecat"

test-pipecat: install system $(PIPECAT)
	$(BIN)/pytest -rs tests/scenario/test_pipecat.py $(ARGS)

$(PIPECAT): tests/pipecat/requirements.txt
	$(PYTHON) -m venv --clear $(PIPECAT_VENV)
	$(PIPECAT_VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r $<
	@touch $@

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# One file of the figures: make bench ARGS='--quick --json chat.json'
bench: install
	$(BIN)/python -m scripts.bench.chat $(ARGS)

# Hashes and versions only: a lock that names a package index would bind everyone to it.
lock:
	$(UV) lock
	$(UV) export --quiet --format requirements.txt --no-emit-project --all-groups --no-header --no-emit-package torch -o requirements.lock
	rm -f uv.lock
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate tests/pipecat/requirements.in -o tests/pipecat/requirements.txt
	@! grep -n '://' requirements.lock tests/pipecat/requirements.txt

# As root (or with sudo that asks nothing) installs what is missing; else says what it is.
system:
	@missing=; for program in $(SYSTEM); do \
		command -v $$program >/dev/null || missing="$$missing $$program"; \
	done; \
	[ -z "$$missing" ] && exit 0; \
	if ! command -v apt-get >/dev/null; then as=none; \
	elif [ "$$(id -u)" = 0 ]; then as=; \
	elif sudo -n true 2>/dev/null; then as=sudo; \
	else as=none; fi; \
	if [ "$$as" != none ] && $$as apt-get update -qq \
		&& DEBIAN_FRONTEND=noninteractive $$as apt-get install -qq -y --no-install-recommends $$missing; \
	then exit 0; fi; \
	echo "Not installed:$$missing. The tests that drive them will fail; on Debian they come"; \
	echo "with: sudo apt-get install$$missing"

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
