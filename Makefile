# make test    create the environment if there is none, run every check and test
# make demo    train a style end to end and show the result
# make docs    build the documentation into build/site; a broken link is an error
PYTHON ?= python3
BIN = .venv/bin

.PHONY: demo test check docs format clean

# The stamp is younger than pyproject.toml once the environment holds what that asks for.
.venv/stamp: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch .venv/stamp

demo: .venv/stamp
	$(BIN)/python scripts/demo.py

# Two processes of one thread each: threads of one process wait for one another.
test: check
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadfile

check: .venv/stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: .venv/stamp
	$(BIN)/python scripts/docs/write_reference.py --check
	$(BIN)/zensical build --clean --strict

format: .venv/stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv .cache build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
