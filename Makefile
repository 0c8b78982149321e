# `make demo` and `make test` need Python 3.11 or newer and a C++ compiler; the rest they install into .venv.
VENV := .venv
BUILD := build/dev
PY := $(VENV)/bin/python
# For the GPU checks: the caller's own Python, looked up before .venv comes first.
GPU_PYTHON := $(or $(PYTHON),$(shell command -v python3))
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

CMAKE_FILES := CMakeLists.txt tests/native/CMakeLists.txt $(wildcard cmake/*.cmake)
NATIVE_FILES := $(shell find xla_ffi tests/native -name '*.h' -o -name '*.cc' -o -name '*.cu')
# address: also leaks. float-cast-overflow: an index made from NaN or from a number out of range.
SANITIZERS := address,undefined,float-cast-overflow

# One is enough to see that the CUDA kernels compile; a wheel gets all.
CUDA_ARCHITECTURES ?= 90-real

# What a build without isolation needs in .venv, where the headers are those of the jax that runs.
BUILD_REQUIREMENTS := import tomllib; p = tomllib.load(open("pyproject.toml", "rb")); \
    print(*[r for r in p["build-system"]["requires"] if not r.startswith("jax")], *p["project"]["dependencies"])

# `make test-gpu` and `make bench-gpu` run with a Python that has JAX, its CUDA plugin and everything else: nothing is
# downloaded. They use their own build of jaxct, for the GPU that is there, ahead of any that is installed.
GPU_BUILD := build/gpu
GPU_SITE := $(CURDIR)/$(GPU_BUILD)/site
GPU_JOBS ?= 4
COMPUTE_SANITIZER ?= compute-sanitizer
BENCH_GPU_OPTIONS ?=
GPU_ENV := JAX_PLATFORMS=cuda,cpu XLA_PYTHON_CLIENT_PREALLOCATE=false PYTHONPATH=$(GPU_SITE):$(CURDIR):$(PYTHONPATH)

.PHONY: help demo test build lint format native-test asan pytest emulated clean
.PHONY: gpu-device build-gpu test-gpu pytest-gpu sanitize-gpu bench-gpu
help:
	@echo "make demo         reconstruct the bundled measured walnut into demo/"
	@echo "make test         every check: lint, types, native tests, sanitizers, pytest"
	@echo "make build        the editable development build in $(VENV), warnings as errors"
	@echo "make lint         ruff, clang-format and mypy        make format   apply the formatters"
	@echo "make native-test  the C++ tests                      make asan     the same under ASan and UBSan"
	@echo "make pytest       the Python tests                   make emulated some of them through the CUDA kernels"
	@echo "make clean        remove $(VENV), build and demo"
	@echo "make test-gpu     on a machine with a GPU: build for it, tests/gpu, compute-sanitizer (docs/gpu-checks.md)"
	@echo "make bench-gpu    on a machine with a GPU: times beside other libraries, into benchmarks/results"

demo: $(VENV)/.demo
	$(VENV)/bin/jaxct demo -o demo/
	@echo "The reconstructed walnut is in demo/:" && ls demo/

test: lint native-test asan pytest emulated

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

# No barrier between the parts: `make -k test-gpu` runs the rest after one has failed.
test-gpu: pytest-gpu sanitize-gpu

gpu-device:
	@$(GPU_PYTHON) tests/gpu/device.py

build-gpu: $(GPU_BUILD)/.installed

# Without isolation or an index: no network. For this GPU alone, which compiles faster than the several of a release.
$(GPU_BUILD)/.installed: pyproject.toml $(CMAKE_FILES) $(NATIVE_FILES) $(shell find jaxct -name '*.py') | gpu-device
	$(GPU_PYTHON) -m pip install --no-build-isolation --no-deps --no-index --upgrade --target $(GPU_SITE) . \
	    -C build-dir=$(GPU_BUILD)/cmake -C cmake.define.JAXCT_CUDA=ON \
	    -C cmake.define.CMAKE_CUDA_ARCHITECTURES=$$($(GPU_PYTHON) tests/gpu/device.py --architecture)
	@touch $@

# Warnings of whatever versions are there are not failures of these checks. The last two count memory: one at a time.
# PYTHONSAFEPATH and append: the checkout's own jaxct, which has no compiled modules, must not come first.
PYTEST_GPU = $(GPU_ENV) PYTHONSAFEPATH=1 JAXCT_GPU_CHECKS=required JAXCT_GPU_SITE=$(GPU_SITE) \
    $(GPU_PYTHON) -m pytest --import-mode=append -W default
GPU_ALONE := tests/gpu/test_memory.py tests/gpu/test_large.py
HAVE_XDIST := import importlib.util; print("-n $(GPU_JOBS)" if importlib.util.find_spec("xdist") else "")

pytest-gpu: build-gpu
	$(PYTEST_GPU) $$($(GPU_PYTHON) -c '$(HAVE_XDIST)') tests/gpu $(addprefix --ignore=,$(GPU_ALONE))
	$(PYTEST_GPU) $(GPU_ALONE)

# The platform allocator gives every buffer its own allocation, so that a step out of one is seen. jaxct's kernels alone
# are looked at, by name; the errors planted in kernels of that name must be found.
SANITIZE := $(COMPUTE_SANITIZER) --error-exitcode 1 --kernel-regex kns=jaxct --report-api-errors no --target-processes all
SANITIZE_ENV := $(GPU_ENV) PYTHONSAFEPATH=1 XLA_PYTHON_CLIENT_ALLOCATOR=platform XLA_FLAGS=--xla_gpu_enable_command_buffer=
PLANTED := $(GPU_BUILD)/planted

sanitize-gpu: build-gpu $(PLANTED)
	@for tool in memcheck racecheck; do \
	    echo "compute-sanitizer $$tool, on a planted error"; \
	    if $(SANITIZE) --tool $$tool $(PLANTED) $$tool >$(PLANTED).log 2>&1; then \
	        cat $(PLANTED).log; echo "compute-sanitizer $$tool does not find it" >&2; exit 1; \
	    fi; \
	    grep -q "SUMMARY: [1-9]" $(PLANTED).log || { cat $(PLANTED).log; exit 1; }; \
	    echo "compute-sanitizer $$tool, on every operator"; \
	    $(SANITIZE_ENV) $(SANITIZE) --tool $$tool $(GPU_PYTHON) -m tests.gpu.sanitize || exit 1; \
	done

$(PLANTED): tests/gpu/planted.cu | gpu-device
	mkdir -p $(@D)
	nvcc -o $@ $<

bench-gpu: build-gpu
	$(GPU_ENV) $(GPU_PYTHON) benchmarks/gpu.py $(BENCH_GPU_OPTIONS)

# The CUDA path, its kernels compiled for the host: the promises that say most about it. Of the values, float64's runs say
# the most already, and the many set-ups that hypothesis draws are slow in emulation; of derivatives in the geometry those
# that need no oracle, which takes longer to compile than the kernels to run.
EMULATED_DERIVATIVES := gauss_newton_products corners_that_fall_together voxels_in_the_plane_of_a_source \
    mixed_second_derivatives[cone_curved_tilted-separable_footprint]

# Of lines of response those on few of them; what is unsound is NaN on CUDA and an error on the CPU.
EMULATED_LORS := not graze and not chords and not siddon_is_exact and not planes and not run and not mlem and not bad_input \
    and not finite and not (by_ends and list)

emulated: build
	JAXCT_NATIVE_TESTS_FOLDER=$(BUILD)/tests/native $(PY) -m pytest -p tests.emulate_cuda -n auto --maxprocesses=4 \
	    -k "not float32 and not random" tests/test_values.py tests/test_vmap.py \
	    $(EMULATED_DERIVATIVES:%='tests/test_geometry_gradients.py::test_%')
	JAXCT_NATIVE_TESTS_FOLDER=$(BUILD)/tests/native $(PY) -m pytest -p tests.emulate_cuda -n auto --maxprocesses=4 \
	    -k "$(EMULATED_LORS)" tests/test_lors.py

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
	$(PY) -m pip install --no-build-isolation -e '.[cli,io,plot]' -C cmake.define.JAXCT_CUDA=OFF
	@touch $@

# pip installs once; afterwards CMake alone brings the extension modules up to date.
$(VENV)/.editable: $(VENV)/.build-requirements $(MODULES) $(CMAKE_FILES)
	$(PY) -m pip install --no-build-isolation -e '.[all,dev]' -C build-dir=$(BUILD) \
	    -C cmake.define.JAXCT_WERROR=ON -C cmake.define.JAXCT_NATIVE_TESTS=ON \
	    -C cmake.define.CMAKE_CUDA_ARCHITECTURES=$(CUDA_ARCHITECTURES)
	@touch $@ $(VENV)/.demo

$(BUILD)/.installed: $(VENV)/.editable $(NATIVE_FILES)
	cmake --build $(BUILD)
	cmake --install $(BUILD) --prefix $$($(PY) -c 'import sysconfig; print(sysconfig.get_path("platlib"))')
	@touch $@ $(VENV)/.demo
