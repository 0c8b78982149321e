"""``python -m jaxct``: what this installation can compute on. With arguments, the command line ``jaxct``."""

import os
import platform
import sys
from collections.abc import Sequence

import jax
import jaxlib

from jaxct import __version__, _native
from jaxct._backends import backends

_USAGE = "python -m jaxct: without arguments, report what this installation can compute on; with some, the same as:\n"


def main(args: Sequence[str] | None = None) -> None:
    """Run and exit.

    The report's exit code is 0 if the CPU module is loaded, else 1; the command line has its own.

    Args:
        args: the arguments, without the program's name; ``sys.argv`` if None.
    """
    args = sys.argv[1:] if args is None else args
    if not args:
        # A look at the devices must not take a GPU's memory from the programs that run on it.
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
        found = backends(initialize=True)
        print(_installation(), found, sep="\n")
        sys.exit(0 if found.cpu.loaded else 1)
    if args[0] == "--help":
        print(_USAGE)
    from jaxct import cli

    cli.main(args)


def _installation() -> str:
    ffi = _native.version_text(_native.running_ffi_version())
    return (
        f"jaxct   {__version__}\n"
        f"python  {platform.python_version()}, {platform.platform()}\n"
        f"jax     {jax.__version__}, jaxlib {jaxlib.__version__}, XLA FFI {ffi}"
    )


if __name__ == "__main__":
    main()
