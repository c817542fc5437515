# make test    create the environment if there is none, run every check and test
# make demo    train a style end to end and show the result
# make docs    build the documentation into build/site; a broken link is an error
# make page    put the page of fst web into build/site/try; downloads onnxruntime-web once
# make lowest  run the tests with the lowest versions that pyproject.toml allows
# make dist    build the sdist and the wheel, check them, install the wheel and try it
PYTHON ?= python3
BIN = .venv/bin

.PHONY: demo test check docs page lowest dist format clean

# The stamp is younger than pyproject.toml once the environment holds what that asks for.
.venv/stamp: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch .venv/stamp

demo: .venv/stamp
	$(BIN)/python scripts/demo.py

# Two processes of one thread each: threads of one process wait for one another.
test: check
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist worksteal

check: .venv/stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: .venv/stamp
	$(BIN)/python scripts/docs/write_reference.py --check
	$(BIN)/zensical build --clean --strict

page: .venv/stamp
	$(BIN)/fst web --output build/site/try --overwrite

# Without those of the packaging: they need a setuptools that the lowest torch refuses.
lowest: build/lowest/stamp
	OMP_NUM_THREADS=1 build/lowest/bin/python -m pytest --numprocesses 2 --dist worksteal \
	  --ignore tests/test_packaging.py

build/lowest/stamp: .venv/stamp
	$(BIN)/uv venv --quiet --clear --python 3.11 build/lowest
	$(BIN)/uv pip install --quiet --python build/lowest --resolution lowest-direct \
	  --editable '.[test]'
	touch build/lowest/stamp

dist: .venv/stamp
	rm -rf dist build/installed
	$(BIN)/python -m build
	$(BIN)/python -m twine check --strict dist/*
	$(PYTHON) -m venv build/installed
	build/installed/bin/pip install --quiet dist/*.whl
	cd build && installed/bin/fst --help
	cd build && installed/bin/fst stylize starry_night ../conf/style/vortices.jpg -o stylized.png

format: .venv/stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv .cache build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
