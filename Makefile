# Everything works in a fresh clone and needs python3, make and a C compiler; `make` alone lists the targets.
# One wheel is built whenever a source has changed; every environment that needs it installs it anew.
PYTHON ?= python3
PEERS ?= light
ARGS ?=

MAKEFLAGS += --no-print-directory
SHELL := /bin/sh
.NOTPARALLEL:
.SECONDARY:
.DELETE_ON_ERROR:
# The environments are ours alone, and a folder named fastconv at hand is no installed package.
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV
export PYTHONSAFEPATH := 1

SOURCES := $(shell find fastconv src_c -name '*.py' -o -name '*.py[xi]' -o -name '*.px[di]' -o -name '*.[ch]' \
	-o -name '*.inc' -o -name py.typed | grep -v '/_core\.c$$' | sort) pyproject.toml setup.py README.md LICENSE
WHEEL := build/wheel/.built

.PHONY: help demo bench test test-all c-test lint clean
help:
	@echo 'make demo      filter a photograph, train on digits, run a short benchmark (PEERS=all: with PyTorch)'
	@echo 'make bench     the whole benchmark (ARGS="--threads 2 ..." go to fastconv bench)'
	@echo 'make test      the tests; those that need a large framework are skipped'
	@echo 'make test-all  the tests with every framework installed'
	@echo 'make lint      ruff and mypy'
	@echo 'make clean     remove all that these made'

# --- Environments ------------------------------------------------------------------------------------

.venv-%/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else \
		f"fastconv needs Python 3.11 or newer, $(PYTHON) is {sys.version.split()[0]}: make PYTHON=...")'
	$(PYTHON) -m venv .venv-$*

$(WHEEL): $(SOURCES) | .venv-build/bin/python
	@rm -rf build/wheel build/lib* build/bdist* && mkdir -p build/wheel
	@echo 'building the wheel (messages of the compiler: build/compile.log)'
	@.venv-build/bin/python -m pip wheel --verbose --no-deps --wheel-dir build/wheel . >build/compile.log 2>&1 \
		|| { tail -n 40 build/compile.log; exit 1; }
	@touch $@

EXTRAS_demo_light := demo
EXTRAS_demo_all := demo,peers,torch
EXTRAS_test := test
EXTRAS_test-all := test-all
EXTRAS_lint := dev

# $(1) the environment, $(2) the extras
define install
	@echo 'installing fastconv[$(2)] into .venv-$(1)'
	@.venv-$(1)/bin/python -m pip uninstall --quiet --quiet --yes fastconv
	@.venv-$(1)/bin/python -m pip install --quiet "$$(echo build/wheel/fastconv-*.whl)[$(2)]"
	@touch $@
endef

.venv-demo/.installed-$(PEERS): $(WHEEL) | .venv-demo/bin/python
	$(call install,demo,$(EXTRAS_demo_$(PEERS)))

.venv-%/.installed: $(WHEEL) | .venv-%/bin/python
	$(call install,$*,$(EXTRAS_$*))

# --- Demo --------------------------------------------------------------------------------------------

BIN := .venv-demo/bin
BENCH_light := --peers onnxruntime,opencv,scipy
ifeq ($(EXTRAS_demo_$(PEERS)),)
$(error PEERS must be light or all, got $(PEERS))
endif

demo: .venv-demo/.installed-$(PEERS)
	@mkdir -p demo
	@picture=$$($(BIN)/python -c \
		'from importlib.resources import files; print(files("skimage") / "data" / "chelsea.png")') && \
		$(BIN)/fastconv info && \
		$(BIN)/fastconv filter "$$picture" --kernel all -o demo/filters.png && \
		PYTHONSAFEPATH= $(BIN)/python examples/digits_autograd.py --out demo && \
		$(BIN)/fastconv bench --quick $(BENCH_$(PEERS)) --json demo/bench.json --plot demo/bench.png
	@echo
	@echo 'The photograph with every filter: $(CURDIR)/demo/filters.png'
	@echo 'What a network learned of digits: $(CURDIR)/demo/digits-autograd-*.png'
	@echo 'The benchmark as a picture:       $(CURDIR)/demo/bench.png'

bench: .venv-demo/.installed-$(PEERS)
	@mkdir -p demo
	$(BIN)/fastconv bench $(BENCH_$(PEERS)) --json demo/bench-full.json --plot demo/bench-full.png \
		--markdown demo/bench-full.md $(ARGS)

# --- Tests -------------------------------------------------------------------------------------------

# Each tests/c/test_*.c is a program that exits with 0, or 77 where it cannot run here.  One with a .py of the same
# name beside it is built and run by that.
C_TESTS := $(filter-out $(basename $(wildcard tests/c/test_*.py)),$(basename $(wildcard tests/c/test_*.c)))
C_ISAS_x86_64 := AVX2 AVX512
C_ISAS_aarch64 := NEON
C_ISAS_arm64 := NEON
C_FLAGS := -std=c11 -g -O1 -Wall -Wextra -pthread -D_GNU_SOURCE= $(addprefix -DFC_HAVE_,$(C_ISAS_$(shell uname -m)))
C_BUILD := .venv-test/c

# The libraries that went into the wheel, twice for those that need each other.
$(C_BUILD)/%: tests/c/%.c $(wildcard tests/c/*.h tests/c/*.inc) $(WHEEL) | .venv-test/.installed
	@mkdir -p $(@D)
	@libraries=$$(ls -td build/temp.* | head -n 1)/libfastconv_*.a; set -x; \
		$(CC) $(C_FLAGS) $< -o $@ $$libraries $$libraries -lm

c-test: $(patsubst tests/c/%,$(C_BUILD)/%,$(C_TESTS))
	@for program in $^; do echo "$$program"; "$$program" || [ $$? -eq 77 ] || exit 1; done

test: .venv-test/.installed c-test
	.venv-test/bin/pytest $(ARGS)

test-all: .venv-test-all/.installed
	.venv-test-all/bin/pytest $(ARGS)

lint: .venv-lint/.installed
	.venv-lint/bin/ruff check .
	.venv-lint/bin/mypy

clean:
	rm -rf build dist demo .venv-* .pytest_cache .ruff_cache .mypy_cache .hypothesis .benchmarks *.egg-info
	rm -f fastconv/_core.c fastconv/*.so
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
