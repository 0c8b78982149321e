"""What is shipped: the source distribution has everything a build needs and nothing that a build leaves behind."""

import importlib.metadata
import subprocess
import sys
import tarfile
from pathlib import Path, PurePosixPath

import pytest

import jaxct

ROOT = Path(__file__).resolve().parents[1]
NEEDED = {"jaxct": {".py", ".h5", ".typed"}, "xla_ffi": {".h", ".cc", ".cu", ".cuh"}, "cmake": {".cmake"}}


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
        for folder, suffixes in NEEDED.items()
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
