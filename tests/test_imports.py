"""Who may import whom: the layers of the package, its dependencies, and what ``import jaxct`` costs."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "jaxct"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

# Lowest first. A module imports from its own layer and from lower ones.
LAYERS = [
    {"geometry", "_native", "_partition", "_sharding"},
    {"_linear", "_lors", "_backends", "_export"},
    {
        "projection",
        "_sparse",
        "linear",
        "checkpoint_policies",
        "sharding",
        "filters",
        "weights",
        "phantoms",
        "metrics",
        "data_fit",
        "priors",
        "_arithmetic",
        "_divergence",
        "_emission",
        "wavelets",
        "operators",
        "_penalties",
        "priors_anatomical",
        "plot",
    },
    {"nn", "io"},
    {"reconstruct"},
    {"calibration", "pet"},
    {"cli", "__main__"},
]
LAYER_OF = {unit: i for i, units in enumerate(LAYERS) for unit in units}
SOURCES = sorted(PACKAGE.rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(p for p in parts if p != "__init__")


def unit_of(module: str) -> str:
    """The part of the package a module belongs to: ``geometry.cone`` -> ``geometry``."""
    return module.split(".")[0]


def imports(tree: ast.AST) -> Iterator[str]:
    """Every absolute module that is imported anywhere in a tree, with the names taken from it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative imports hide the layer they come from"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def internal_units(path: Path) -> set[str]:
    """The units of jaxct that a file imports, other than its own."""
    names = {name for name in imports(ast.parse(path.read_text())) if name.split(".")[0] == "jaxct"}
    assert "jaxct" not in names or unit_of(module_name(path)) == "cli", f"{path}: import the module that is meant"
    units = {unit_of(name.removeprefix("jaxct.")) for name in names - {"jaxct", "jaxct.__version__"}}
    return units - {unit_of(module_name(path))}


def ids(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", [p for p in SOURCES if p != PACKAGE / "__init__.py"], ids=ids)
def test_a_module_imports_from_no_higher_layer(path):
    unit = unit_of(module_name(path))
    targets = internal_units(path)
    if unit == "reference":
        assert targets <= {"geometry"}, "the oracle must not share code with what it judges"
        return
    assert unit in LAYER_OF, f"{unit} is new: give it a layer"
    upwards = {t for t in targets if LAYER_OF.get(t, len(LAYERS)) > LAYER_OF[unit]}
    assert not upwards, f"{unit} must not import {sorted(upwards)}"


def test_there_are_no_circles():
    graph: dict[str, set[str]] = {}
    for path in SOURCES:
        if path != PACKAGE / "__init__.py":
            graph.setdefault(unit_of(module_name(path)), set()).update(internal_units(path))
    while graph:
        leaves = {unit for unit, targets in graph.items() if not targets & graph.keys()}
        assert leaves, f"a circle among {sorted(graph)}"
        graph = {unit: targets for unit, targets in graph.items() if unit not in leaves}


@pytest.mark.parametrize("path", SOURCES, ids=ids)
def test_jax_internals_stay_in_one_file(path):
    names = set(imports(ast.parse(path.read_text())))
    assert not {n for n in names if n.startswith("jax._src")}
    if path.name != "_linear.py":
        assert not {n for n in names if n.startswith("jax.interpreters")}


def requirement_names(requirements: list[str]) -> set[str]:
    return {re.match(r"[\w-]+", r).group() for r in requirements}


# What is not imported by the name that it is installed by.
DISTRIBUTIONS = {"orbax": "orbax-checkpoint"}


def third_party(tree: ast.AST) -> set[str]:
    names = {n.split(".")[0] for n in imports(tree)} - set(sys.stdlib_module_names) - {"jaxct"}
    return {DISTRIBUTIONS.get(name, name) for name in names}


def eager_statements(tree: ast.Module) -> ast.Module:
    """The tree without function bodies and ``if TYPE_CHECKING`` blocks: what runs on import."""

    class Strip(ast.NodeTransformer):
        def visit_FunctionDef(self, node):
            return None

        def visit_If(self, node):
            return None if "TYPE_CHECKING" in ast.unparse(node.test) else node

    return Strip().visit(tree)


@pytest.mark.parametrize("path", SOURCES, ids=ids)
def test_extras_are_declared_and_imported_only_when_used(path):
    core = requirement_names(PYPROJECT["dependencies"])
    extras = {n for e in ("cli", "io", "plot") for n in requirement_names(PYPROJECT["optional-dependencies"][e])}
    assert third_party(ast.parse(path.read_text())) <= core | extras | {"mpl_toolkits"}
    eager = third_party(eager_statements(ast.parse(path.read_text())))
    # The command line is imported by its own console script alone.
    allowed = core | {"typer", "rich"} if unit_of(module_name(path)) == "cli" else core
    assert eager <= allowed


def test_core_dependencies_are_five():
    assert requirement_names(PYPROJECT["dependencies"]) == {"jax", "jaxlib", "numpy", "optax", "flax"}


def test_importing_jaxct_stays_light():
    heavy = ["matplotlib", "h5py", "tifffile", "nibabel", "typer", "rich", "optax", "flax"]
    code = f"import sys, jaxct; print(*[m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def includes(path: Path) -> set[str]:
    return set(re.findall(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', path.read_text(), re.MULTILINE))


def native_files(folder: str) -> list[Path]:
    found = [p for p in (ROOT / "xla_ffi" / folder).rglob("*") if p.suffix in {".h", ".cc", ".cu", ".cuh"}]
    assert found
    return found


@pytest.mark.parametrize("path", native_files("core"), ids=ids)
def test_core_headers_know_neither_xla_nor_cuda(path):
    own = {name for name in includes(path) if "/" in name}
    assert all(name.startswith("core/") for name in own)
    assert not {name for name in includes(path) if name.startswith("cuda")}


@pytest.mark.parametrize(("folder", "other"), [("cpu", "cuda/"), ("cuda", "cpu/")])
def test_cpu_and_cuda_never_include_each_other(folder, other):
    for path in native_files(folder):
        assert not {name for name in includes(path) if name.startswith(other)}, path
