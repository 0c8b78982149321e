"""What is shipped: the source distribution has everything a build needs and nothing that a build leaves behind; the
native modules need nothing but the system's own libraries."""

import importlib.metadata
import importlib.util
import struct
import subprocess
import sys
import tarfile
from pathlib import Path, PurePosixPath

import pytest

import jaxct

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = {"jaxct": {".py", ".h5", ".typed"}, "xla_ffi": {".h", ".cc", ".cu", ".cuh"}, "cmake": {".cmake"}}


@pytest.fixture(scope="module")
def sdist_names(tmp_path_factory) -> set[str]:
    pytest.importorskip("scikit_build_core")
    folder = tmp_path_factory.mktemp("sdist")
    code = f"from scikit_build_core.build import build_sdist; build_sdist({str(folder)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)
    (archive,) = folder.glob("jaxct-*.tar.gz")
    with tarfile.open(archive) as tar:
        return {str(PurePosixPath(*PurePosixPath(name).parts[1:])) for name in tar.getnames()}


def test_sdist_has_every_source(sdist_names):
    wanted = {
        str(path.relative_to(ROOT))
        for folder, suffixes in SHIPPED.items()
        for path in (ROOT / folder).rglob("*")
        if path.suffix in suffixes
    }
    wanted |= {"pyproject.toml", "CMakeLists.txt", "README.md", "LICENSE", "jaxct/py.typed"}
    assert not wanted - sdist_names


def test_sdist_has_no_build_products(sdist_names):
    junk = {
        "__pycache__",
        "build",
        ".venv",
        "demo",
        ".git",
        ".hypothesis",
        ".pytest_cache",
        ".mypy_cache",
        ".ruff_cache",
    }
    assert not {name for name in sdist_names if junk & set(PurePosixPath(name).parts)}
    assert not {name for name in sdist_names if name.endswith((".so", ".pyd", ".pyc", ".o"))}


def test_installed_version_is_the_package_s():
    assert importlib.metadata.version("jaxct") == jaxct.__version__


def test_console_script_leads_to_the_command_line():
    (script,) = importlib.metadata.entry_points(group="console_scripts", name="jaxct")
    assert script.value == "jaxct.cli:main"


# Libraries of every Linux with a C++ run time. A static cudart opens libcuda itself, when it is first called.
SYSTEM_LIBRARIES = {
    "ld-linux-aarch64",
    "ld-linux-x86-64",
    "libc",
    "libdl",
    "libgcc_s",
    "libm",
    "libpthread",
    "librt",
    "libstdc++",
}


def native_module(name: str) -> Path:
    """Where an extension module lies, found without importing it."""
    found = importlib.util.find_spec(f"jaxct.{name}")
    if found is None:
        pytest.skip(f"this installation was built without jaxct.{name}")
    return Path(found.origin)


def needed_libraries(path: Path) -> set[str]:
    """The entries NEEDED of a 64-bit little-endian ELF file, read from its section of type SHT_DYNAMIC."""
    data = path.read_bytes()
    if data[:6] != b"\x7fELF\x02\x01":
        pytest.skip(f"{path.name} is not a 64-bit ELF file")
    table, size, count = (*struct.unpack_from("<Q", data, 0x28), *struct.unpack_from("<HH", data, 0x3A))
    sections = [struct.unpack_from("<IIQQQQIIQQ", data, table + i * size) for i in range(count)]
    (dynamic,) = (section for section in sections if section[1] == 6)
    names = sections[dynamic[6]][4]
    entries = struct.iter_unpack("<qQ", data[dynamic[4] : dynamic[4] + dynamic[5]])
    return {data[names + value :].partition(b"\0")[0].decode() for tag, value in entries if tag == 1}


@pytest.mark.parametrize("name", ["_cpu", "_cuda"])
def test_native_modules_need_system_libraries_alone(name):
    needed = {library.split(".so")[0] for library in needed_libraries(native_module(name))}
    assert "libc" in needed, "the list cannot be empty"
    assert needed <= SYSTEM_LIBRARIES


@pytest.mark.skipif(sys.platform != "linux", reason="what is in a process's memory is read from /proc")
def test_importing_the_cuda_module_leaves_the_driver_alone():
    """So it imports where there is no driver, and in milliseconds where there is one."""
    native_module("_cuda")
    code = """
from pathlib import Path
import jaxct._cuda
assert jaxct._cuda.registrations() is not None
print(*(line.split("/")[-1] for line in Path("/proc/self/maps").read_text().splitlines() if "/" in line))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    libraries = set(done.stdout.split())
    assert any(name.startswith("_cuda.") for name in libraries)
    assert not {name for name in libraries if name.startswith(("libcuda.so", "libcudart.so"))}
