"""What holds for all tests."""

import os
import signal
from pathlib import Path

import jax
import pytest

# Most of the time goes into compiling, and most programs are compiled in more files, by more workers and in more runs
# than one. Those that call our operators look them up anew when they are loaded.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    jax.config.update("jax_compilation_cache_dir", str(Path(__file__).resolve().parents[1] / "build" / "compiled"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def pytest_configure(config):
    # What a shell runs in the background ignores Ctrl-C, and so would what the tests start and interrupt.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # One worker may read a program while another one writes it: JAX warns, and compiles it itself.
    config.addinivalue_line("filterwarnings", "ignore:Error (reading|writing) persistent compilation cache:UserWarning")


@pytest.fixture(autouse=True, scope="module")
def drop_compiled_programs():
    """After each file: what XLA has compiled maps memory, and a process may have only so many mappings."""
    yield
    jax.clear_caches()
