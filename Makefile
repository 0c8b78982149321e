# `make demo` and `make test` need Python 3.11 or newer and a C++ compiler; the rest they install into .venv.
VENV := .venv
BUILD := build/dev
PY := $(VENV)/bin/python
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

CMAKE_FILES := CMakeLists.txt tests/native/CMakeLists.txt $(wildcard cmake/*.cmake)
NATIVE_FILES := $(shell find xla_ffi tests/native -name '*.h' -o -name '*.cc' -o -name '*.cu')
# address: also leaks. float-cast-overflow: an index made from NaN or from a number out of range.
SANITIZERS := address,undefined,float-cast-overflow

# What a build without isolation needs in .venv, where the headers are those of the jax that runs.
BUILD_REQUIREMENTS := import tomllib; p = tomllib.load(open("pyproject.toml", "rb")); \
    print(*[r for r in p["build-system"]["requires"] if not r.startswith("jax")], *p["project"]["dependencies"])

.PHONY: help demo test build lint format native-test asan pytest clean
help:
	@echo "make demo         reconstruct the bundled measured walnut into demo/"
	@echo "make test         every check: lint, types, native tests, sanitizers, pytest"
	@echo "make build        the editable development build in $(VENV), warnings as errors"
	@echo "make lint         ruff, clang-format and mypy        make format   apply the formatters"
	@echo "make native-test  the C++ tests                      make asan     the same under ASan and UBSan"
	@echo "make pytest       the Python tests                   make clean    remove $(VENV), build and demo"

demo: $(VENV)/.demo
	$(VENV)/bin/jaxct demo -o demo/
	@echo "The reconstructed walnut is in demo/:" && ls demo/

test: lint native-test asan pytest

build: $(BUILD)/.installed

lint: $(VENV)/.editable
	ruff check .
	ruff format --check .
	clang-format --dry-run -Werror $(NATIVE_FILES)
	mypy

format: $(VENV)/.editable
	ruff check --fix .
	ruff format .
	clang-format -i $(NATIVE_FILES)

native-test: build
	ctest --test-dir $(BUILD) --output-on-failure --no-tests=error

asan: $(VENV)/.build-requirements
	cmake -S . -B build/asan -G Ninja -DPython_EXECUTABLE=$(CURDIR)/$(PY) -DCMAKE_BUILD_TYPE=RelWithDebInfo \
	    -DJAXCT_NATIVE_TESTS=ON -DJAXCT_CUDA=OFF -DJAXCT_SANITIZE=$(SANITIZERS)
	cmake --build build/asan --target native_tests
	ctest --test-dir build/asan --output-on-failure --no-tests=error

# PYTHONDEVMODE is `python -X dev` that pytest-xdist's workers inherit.
pytest: build
	PYTHONDEVMODE=1 $(PY) -m pytest -n auto --maxprocesses=4

clean:
	rm -rf $(VENV) build demo

$(PY):
	@suitable='import ensurepip, os, sys, sysconfig, venv; \
	    sys.exit(sys.version_info < (3, 11) or not os.path.exists(sysconfig.get_path("include") + "/Python.h"))'; \
	for python in $(PYTHON) python3 python3.13 python3.12 python3.11; do \
	    if $$python -c "$$suitable" 2>/dev/null; then exec $$python -m venv $(VENV); fi; \
	done; \
	echo "No suitable Python: 3.11 or newer is needed, with venv and the C headers (on Debian and Ubuntu:" >&2; \
	echo "apt install python3-venv python3-dev). Name one with make PYTHON=/path/to/python." >&2; \
	exit 1

# Builds are not isolated: CMake then keeps its cache, and a second build compiles only what changed.
$(VENV)/.build-requirements: pyproject.toml | $(PY)
	$(PY) -m pip install cmake ninja $$($(PY) -c '$(BUILD_REQUIREMENTS)')
	@touch $@

# An editable install lists the package's modules: it is made anew when one comes or goes.
MODULES := $(VENV)/.modules-$(shell find jaxct -name '*.py' | sort | cksum | cut -d' ' -f1)
$(MODULES): | $(PY)
	@rm -f $(VENV)/.modules-* && touch $@

$(VENV)/.demo: $(VENV)/.build-requirements $(MODULES) $(CMAKE_FILES) $(filter xla_ffi/%,$(NATIVE_FILES))
	$(PY) -m pip install --no-build-isolation -e '.[cli,io,plot]'
	@touch $@

# pip installs once; afterwards CMake alone brings the extension modules up to date.
$(VENV)/.editable: $(VENV)/.build-requirements $(MODULES) $(CMAKE_FILES)
	$(PY) -m pip install --no-build-isolation -e '.[all,dev]' -C build-dir=$(BUILD) \
	    -C cmake.define.JAXCT_WERROR=ON -C cmake.define.JAXCT_NATIVE_TESTS=ON
	@touch $@ $(VENV)/.demo

$(BUILD)/.installed: $(VENV)/.editable $(NATIVE_FILES)
	cmake --build $(BUILD)
	cmake --install $(BUILD) --prefix $$($(PY) -c 'import sysconfig; print(sysconfig.get_path("platlib"))')
	@touch $@ $(VENV)/.demo
