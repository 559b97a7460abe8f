# Everything runs from a fresh clone: each target sets up what it needs in .venv and takes no other step.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
OUT    := out

.PHONY: demo test lint types check explore bench clean help

help: ## what can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 10

$(VENV)/run: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -c constraints.txt -e .
	@touch $@

$(VENV)/dev: $(VENV)/run
	$(BIN)/pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(VENV)/run ## segment the example video and draw its tracks
	@mkdir -p $(OUT)
	$(BIN)/vistool segment examples/shapes.mp4 --method ifr -o $(OUT)/tracks.json -o $(OUT)/overlay.mp4 --overwrite
	$(BIN)/vistool render examples/shapes.mp4 $(OUT)/tracks.json --style contour -o $(OUT)/contours.mp4 --overwrite
	@echo "tracks:   $(CURDIR)/$(OUT)/tracks.json"
	@echo "overlay:  $(CURDIR)/$(OUT)/overlay.mp4"
	@echo "contours: $(CURDIR)/$(OUT)/contours.mp4"

test: lint types check ## lint, type check and all tests

lint: $(VENV)/dev ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/dev ## mypy --strict on the package
	$(BIN)/mypy

check: $(VENV)/dev ## pytest
	$(BIN)/python -m pytest -q

explore: $(VENV)/dev ## property tests on new random cases, a thousand each where cheap
	$(BIN)/python -m pytest -q --hypothesis-profile explore $$(grep -rl '^@given' tests)

bench: $(VENV)/dev ## print the speed and memory tables (benchmarks/README.md)
	$(BIN)/python benchmarks/pipeline.py
	$(BIN)/python benchmarks/startup.py

clean: ## remove what make has made
	rm -rf $(VENV) $(OUT) build dist .mypy_cache .pytest_cache .ruff_cache
