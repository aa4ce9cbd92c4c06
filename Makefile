# Every target sets up what it needs: a virtual environment in .venv, made once for each change of pyproject.toml
# or constraints.txt. `make` alone lists the targets.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PY     := $(BIN)/python
PIP    := $(PY) -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

GPU_SCALE := --steps 30000 --batch 512 --windows 1000000 --hidden 256

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SECONDARY:
.PHONY: help demo lab test test-full browser chromium lint docs bench bench-two-rooms gpu-two-rooms figures notebooks gpu-check clean

help: ## list these targets
	@echo "usage: make TARGET"
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-16s %s\n", $$1, $$2}' Makefile
	@echo "The first use of a target installs what it needs into $(VENV) (PYTHON=$(PYTHON) makes it, 3.11 or newer)."
	@echo "EBM_DATA=FOLDER says where larger data sets lie, if you have them: \`$(BIN)/ebm info\` tells what is found."

demo: $(VENV)/.stamp-base ## pictures of energies learned from real data, in about 8 minutes (ARGS="--quick" is faster)
	$(BIN)/ebm demo $(ARGS)

lab: $(VENV)/.stamp-tutorials ## open the tutorials in JupyterLab
	$(BIN)/jupyter lab tutorials/ $(ARGS)

test: $(VENV)/.stamp-dev ## run the tests, slow ones left out (ARGS="-k langevin" chooses)
	$(PY) -m pytest -n 2 -m "not slow" --ignore tests/browser $(ARGS)
	$(if $(ARGS),,$(MAKE) --no-print-directory browser)

test-full: $(VENV)/.stamp-dev ## run all tests
	$(PY) -m pytest -n 2 --ignore tests/browser $(ARGS)
	$(if $(ARGS),,$(MAKE) --no-print-directory browser)

# By themselves, in one process: one JupyterLab and one Chromium serve all browser tests, and want both cores.
browser: $(VENV)/.stamp-dev chromium ## test the explorers in a real browser (gets Debian's chromium if it may)
	$(PY) -m pytest tests/browser $(ARGS)

chromium:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || [ -n "$$EBM_CHROMIUM" ] || { \
	  if [ "$$(id -u)" = 0 ]; then as=; else as="sudo -n"; fi; \
	  echo "make: no chromium here; installing Debian's (apt-get)"; \
	  command -v apt-get >/dev/null && $$as apt-get update -qq && \
	    $$as env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
	      chromium fonts-dejavu-core >/dev/null; \
	} || echo "make: chromium could not be installed, so the browser tests are skipped: install it by hand (as by" \
	  "\`sudo apt-get install chromium\`), or name a Chrome in EBM_CHROMIUM." >&2

lint: $(VENV)/.stamp-dev ## check style and types
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: $(VENV)/.stamp-docs ## build the site: how to choose, the course, the gallery, the code (ARGS="--no-run" runs no chapter)
	$(PY) -m tutorials.site $(ARGS)

bench: $(VENV)/.stamp-bench ## time this package beside its peers (ARGS="--list" lists, ARGS="sparse_codes" chooses)
	$(PY) -m benchmarks $(ARGS)

bench-two-rooms: $(VENV)/.stamp-base ## learn Two Rooms three times over and count who arrives, in about two hours; goes on where it was stopped
	$(PY) -m benchmarks.two_rooms $(ARGS)

gpu-two-rooms: ## the same on CUDA, with python3's own torch if it has one, else in .venv
	@if $(PYTHON) -c 'import torch' 2>/dev/null; then \
	  PYTHONPATH=. $(PYTHON) -m benchmarks.two_rooms --device cuda $(GPU_SCALE) $(ARGS); \
	else \
	  $(MAKE) --no-print-directory $(VENV)/.stamp-base && $(PY) -m benchmarks.two_rooms --device cuda $(GPU_SCALE) $(ARGS); \
	fi

figures: $(VENV)/.stamp-base ## remake every figure from its script
	set -e; for script in figures/[a-z]*.py; do echo "$$script"; PYTHONPATH=. $(PY) "$$script"; done

notebooks: $(VENV)/.stamp-dev ## remake the notebooks from tutorials/*.py
	$(PY) tutorials/build.py

gpu-check: ## run the contracts on CUDA, with python3's own torch if it has one, else in .venv
	@if $(PYTHON) -c 'import torch' 2>/dev/null; then \
	  PYTHONPATH=. $(PYTHON) -m ebm.testing.gpu_check $(ARGS); \
	else \
	  $(MAKE) --no-print-directory $(VENV)/.stamp-dev && $(PY) -m ebm.testing.gpu_check $(ARGS); \
	fi

clean: ## remove .venv and all caches; pictures and results stay
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- what the targets above stand on ------------------------------------------------------------------------------

$(VENV)/.stamp-venv:
	@command -v $(PYTHON) >/dev/null || { \
	  echo "make: no $(PYTHON) here. Install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3 ..." >&2; \
	  exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "make: $(PYTHON) is `$(PYTHON) -V 2>&1`, and 3.11 or newer is needed: make PYTHON=python3.11 ..." >&2; \
	  exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "make: $(PYTHON) cannot make virtual environments. On Debian and Ubuntu: apt install python3-venv" >&2; \
	  exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.stamp-base: pyproject.toml constraints.txt | $(VENV)/.stamp-venv
	$(PIP) --editable .
	@touch $@

# lightly asks for a torchvision, which nothing that is timed here needs and which replaces the pinned torch.
$(VENV)/.stamp-bench: pyproject.toml constraints.txt | $(VENV)/.stamp-venv
	$(PIP) --editable '.[bench]'
	$(PIP) --no-deps lightly
	@touch $@

$(VENV)/.stamp-%: pyproject.toml constraints.txt | $(VENV)/.stamp-venv
	$(PIP) --editable '.[$*]'
	@touch $@
