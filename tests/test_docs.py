"""What the documentation shows is true: examples run, excerpts are the code, links lead somewhere, options exist."""

import doctest
import itertools
import re
import runpy
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.glob("*.md")])
FIGURES = sorted(DOCS.glob("figures/*.png"))
EXAMPLES = sorted(DOCS.glob("examples/*.py"))
# A page whose Python is a sketch with names that the reader fills in.
SKETCHES = {"scan-format.md"}

FENCE = re.compile(r"^```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def blocks(language: str, titled: bool = False) -> list:
    """The fenced blocks of a language on all pages, as (page, text) or, for excerpts, (page, file, text)."""
    found = []
    for page in PAGES:
        numbers = itertools.count(1)
        for name, title, text in FENCE.findall(page.read_text()):
            if name != language or bool(title) != titled or page.name in SKETCHES:
                continue
            values = (page, title, text) if titled else (page, text)
            found.append(pytest.param(*values, id=f"{page.name}-{language}-{next(numbers)}"))
    return found


@pytest.mark.parametrize(("page", "code"), blocks("python"))
def test_examples_run_as_they_stand(page, code, tmp_path, monkeypatch, capsys):
    pytest.importorskip("h5py")
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "example"}
    exec(compile(code, str(page), "exec"), names)
    if "losses" in names:
        assert names["losses"][-1] < 0.5 * names["losses"][0], "the example claims to train"


@pytest.mark.parametrize("page", [p for p in PAGES if "```pycon" in p.read_text()], ids=lambda p: p.name)
def test_sessions_show_what_python_answers(page):
    failed, attempted = doctest.testfile(str(page), module_relative=False)
    assert attempted > 0
    assert failed == 0


@pytest.mark.parametrize(("page", "file", "excerpt"), blocks("python", True) + blocks("cpp", True))
def test_excerpts_are_the_code(page, file, excerpt):
    """The pieces between lines of ``...`` occur in the file, whole and in this order."""
    source, position = (ROOT / file).read_text(), 0
    for piece in re.split(r"^ *\.\.\.\n", excerpt, flags=re.MULTILINE):
        piece = piece.strip("\n")  # formatters set the dots apart
        found = source.find(piece, position)
        assert found >= 0, f"{file} has changed; {page.name} shows\n{piece}"
        position = found + len(piece)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page):
    targets = [t for t in LINK.findall(FENCE.sub("", page.read_text())) if not re.match(r"https?:|mailto:|#", t)]
    missing = [t for t in targets if not (page.parent / t.split("#")[0]).exists()]
    assert not missing


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda p: p.name)
def test_every_page_is_in_the_index(page):
    index = DOCS / "index.md"
    assert page == index or f"({page.name})" in index.read_text()


@pytest.mark.parametrize("figure", FIGURES, ids=lambda p: p.name)
def test_figures_are_small_shown_and_have_a_script(figure):
    assert figure.stat().st_size < 300_000
    assert figure.with_suffix(".py").exists()
    assert any(f"figures/{figure.name})" in page.read_text() for page in PAGES)


@pytest.mark.parametrize("figure", FIGURES, ids=lambda p: p.name)
def test_figures_can_be_drawn_again(figure, tmp_path):
    pytest.importorskip("matplotlib")
    pytest.importorskip("h5py")
    drawing = runpy.run_path(str(figure.with_suffix(".py")))["draw"]()
    drawing.savefig(tmp_path / figure.name, dpi=40)
    assert (tmp_path / figure.name).stat().st_size > 5_000


@pytest.mark.parametrize("script", EXAMPLES, ids=lambda p: p.name)
def test_examples_are_described_and_say_how_to_run_them(script):
    """That they keep what they promise is for test_examples.py, at a smaller size."""
    page = (DOCS / "examples.md").read_text()
    assert f"(examples/{script.name})" in page
    assert f"(examples/{script.stem}.png)" in page
    assert f"python docs/examples/{script.name} [FILE]" in script.read_text()
    assert script.with_suffix(".png").stat().st_size < 200_000


def commands(program: str) -> list[list[str]]:
    """The command lines of a program in the pages' shell blocks."""
    lines = [line for param in blocks("sh") for line in param.values[1].splitlines()]
    return [words for words in (shlex.split(line, comments=True) for line in lines) if words[:1] == [program]]


def test_commands_and_their_options_exist():
    typer = pytest.importorskip("typer")
    from jaxct.cli.app import app

    known = typer.main.get_command(app).commands
    shown = commands("jaxct")
    assert len(shown) >= 4
    for _, name, *words in shown:
        command = known[name]
        if hasattr(command, "commands"):  # a group of them
            name, *words = words
            command = command.commands[name]
        options = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("-")} <= options, f"jaxct {name}"


def test_make_targets_exist():
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    shown = {word for words in commands("make") for word in words[1:] if re.fullmatch(r"[a-z][\w-]*", word)}
    assert {"demo", "test"} <= shown <= targets
