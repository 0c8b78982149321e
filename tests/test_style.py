"""The public interface is documented and typed. Formatting, linting and type checking are `make lint`."""

import ast
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

import jaxct

ROOT = Path(__file__).resolve().parents[1]
MODULES = ["jaxct", *(f"jaxct.{p.stem}" for p in (ROOT / "jaxct").iterdir() if p.stem in jaxct.__all__)]


def public_objects(module_name: str) -> Iterator[tuple[str, object]]:
    """Functions and classes that a public module offers, and the public methods of those classes."""
    module = importlib.import_module(module_name)
    own = [n for n, o in vars(module).items() if getattr(o, "__module__", None) == module_name]
    for name in getattr(module, "__all__", own):
        item = getattr(module, name)
        if name.startswith("_") or not (inspect.isclass(item) or inspect.isroutine(item)):
            continue
        yield name, item
        if inspect.isclass(item):
            methods = ((n, m) for n, m in vars(item).items() if not n.startswith("_") and inspect.isfunction(m))
            yield from ((f"{name}.{n}", m) for n, m in methods)


def documentation(name: str, item: object, owner: object) -> str | None:
    """A docstring of its own or, for a method, of the method that it overrides."""
    return inspect.getdoc(getattr(owner, name.split(".")[1])) if "." in name else inspect.getdoc(item)


@pytest.mark.parametrize("name", jaxct.__all__)
def test_everything_that_jaxct_offers_is_there(name):
    assert getattr(jaxct, name) is not None


@pytest.mark.parametrize("module_name", MODULES)
def test_public_objects_have_docstrings_and_types(module_name):
    module = importlib.import_module(module_name)
    for name, item in public_objects(module_name):
        assert documentation(name, item, getattr(module, name.split(".")[0])), f"{name} has no docstring"
        if inspect.isclass(item):
            continue
        signature = inspect.signature(item)
        untyped = [p.name for p in signature.parameters.values() if p.annotation is p.empty and p.name != "self"]
        assert not untyped, f"{name} lacks types for {untyped}"
        assert signature.return_annotation is not signature.empty, f"{name} lacks the type of its result"


@pytest.mark.parametrize("path", sorted((ROOT / "jaxct").rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_modules_say_what_they_are_for(path):
    assert ast.get_docstring(ast.parse(path.read_text()))
