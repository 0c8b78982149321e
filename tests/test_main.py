"""``python -m jaxct`` reports what the installation can compute on; with arguments it is the command line."""

import subprocess
import sys

import jax
import jaxlib
import pytest

import jaxct
from jaxct import __main__ as program


def test_the_module_reports():
    done = subprocess.run([sys.executable, "-m", "jaxct"], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert lines[0] == f"jaxct   {jaxct.__version__}"
    assert lines[1].startswith(f"python  {sys.version.split()[0]}, ")
    assert lines[2].startswith(f"jax     {jax.__version__}, jaxlib {jaxlib.__version__}, XLA FFI ")
    assert lines[3] == "cpu     ready"
    assert len([line for line in lines if line.startswith("cuda    ")]) == 1


def test_the_report_fails_without_the_cpu_module_and_needs_no_extras():
    code = """
import sys
sys.modules |= {"jaxct._cpu": None, "typer": None, "rich": None}
from jaxct.__main__ import main
main([])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    report = done.stdout
    assert "cpu     not built: " in report
    assert (
        "is a checkout, whose sources hide an installed jaxct: start Python elsewhere. Or there is no jaxct._cpu"
        in report
    )


@pytest.mark.parametrize(("argument", "code", "said"), [("--version", 0, jaxct.__version__), ("nonsense", 2, "")])
def test_with_arguments_the_module_is_the_command_line(capsys, argument, code, said):
    pytest.importorskip("typer")
    with pytest.raises(SystemExit) as caught:
        program.main([argument])
    assert caught.value.code == code
    assert capsys.readouterr().out.strip() == said


def test_help_tells_of_both(capsys):
    pytest.importorskip("typer")
    with pytest.raises(SystemExit) as caught:
        program.main(["--help"])
    out = capsys.readouterr().out
    assert not caught.value.code
    assert "without arguments, report what this installation can compute on" in out
    assert "reconstruct" in out
