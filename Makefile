# One command for each thing to do here; `make` alone lists them.
#
# Three environments: .venv holds what the app needs and proves that it runs without
# TensorFlow, .venv-dev holds everything, and .venv-mediapipe the one package that goes with no
# other, for one test. Each is installed once, and again when a requirements file it was made from
# changes. To change Python: `make clean` first.

PYTHON ?= python3
RECIPE ?= cpu
OUT ?=
ARGS ?=

DEMO := .venv
DEV := .venv-dev
MEDIAPIPE := .venv-mediapipe
DEV_REQUIREMENTS := requirements-dev.txt requirements-train.txt requirements-tensorflow.txt \
    requirements.txt

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-fast lint train export clean

help: ## List the commands
	@awk -F ' *## ' '/^[a-z-]+:.*## / { sub(/:.*/, "", $$1); printf "make %-10s %s\n", $$1, $$2 }' \
	    $(MAKEFILE_LIST)

demo: $(DEMO)/installed ## Start the demo on http://127.0.0.1:7860
	@$(DEMO)/bin/python app.py

test: $(DEV)/installed $(DEMO)/installed $(MEDIAPIPE)/installed ## Run every test [ARGS="-x -k tile"]
	@$(DEV)/bin/python -m pytest $(ARGS)

test-fast: $(DEV)/installed ## Run the fast tests only [ARGS="-x -k tile"]
	@$(DEV)/bin/python -m pytest -m "not slow" $(ARGS)

lint: $(DEV)/installed ## Check style, formatting and types
	@$(DEV)/bin/ruff check .
	@$(DEV)/bin/ruff format --check .
	@rm -f fer/web/*.pyi # Gradio's, written when it is imported; mypy would read them in place of ours
	@$(DEV)/bin/mypy

train: need-DATA $(DEV)/installed ## Train a network: DATA=fer2013.csv [RECIPE=cpu] [OUT=runs/cpu]
	@$(DEV)/bin/python -m train --data "$(DATA)" --recipe "$(RECIPE)" \
	    --out "$(or $(OUT),runs/$(RECIPE))" $(ARGS)

export: need-MODEL need-DATA need-OUT $(DEV)/installed ## Export a network: MODEL=model.keras DATA=fer2013.csv OUT=folder
	@$(DEV)/bin/python -m export --model "$(MODEL)" --data "$(DATA)" --out "$(OUT)" $(ARGS)

clean: ## Remove the environments and caches; runs/ stays
	rm -rf $(DEMO) $(DEV) $(MEDIAPIPE) build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Stops with one line, before anything is installed, when a variable is not given.
need-%:
	@test -n "$($*)" || { echo "$* must be a path, received nothing; try: make $(MAKECMDGOALS) $*=..." >&2; exit 1; }

# $(call install,folder,requirements) makes an environment. The stamp is removed first and
# written last, so an interrupted installation is done again.
define install
@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null \
    || { echo "PYTHON must be Python 3.10 to 3.13, received $(PYTHON)" \
    "($$($(PYTHON) --version 2>/dev/null || echo not found)); try: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; \
    exit 1; }
@echo "Installing $(2) into $(1) with $$($(PYTHON) --version); this takes a few minutes, once."
@rm -f $@
@$(PYTHON) -m venv $(1)
@$(1)/bin/python -m pip install -qq --disable-pip-version-check -r $(2)
@touch $@
endef

$(DEMO)/installed: requirements.txt
	$(call install,$(DEMO),requirements.txt)

$(DEV)/installed: $(DEV_REQUIREMENTS)
	$(call install,$(DEV),requirements-dev.txt)

$(MEDIAPIPE)/installed: requirements-mediapipe.txt
	$(call install,$(MEDIAPIPE),requirements-mediapipe.txt)
