"""The command line: ``jaxct demo``, ``jaxct reconstruct``, ``jaxct info``. See :mod:`jaxct.cli.app` for the commands.

Exit codes: 0 done; 2 a wrong option or a file that cannot be used, with one line on stderr; 130 interrupted.
"""

import sys
from collections.abc import Sequence

USER_ERROR = 2
INTERRUPTED = 130

# What bad input raises. Anything else is a defect of jaxct and keeps its traceback.
_USER_ERRORS = (ValueError, TypeError, OSError, ImportError, NotImplementedError)


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code.

    Args:
        args: the arguments, without the program's name; ``sys.argv`` if None.
    """
    sys.exit(run(args))


def run(args: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    try:
        from jaxct.cli.app import app
    except ModuleNotFoundError as error:
        if error.name != "typer":
            raise
        return _fail("typer is needed for the command line: pip install 'jaxct[cli]'")
    try:
        return app(args=None if args is None else list(args), prog_name="jaxct", standalone_mode=False) or 0
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        return 1
    except _USER_ERRORS as error:
        return _fail(str(error) or type(error).__name__)
    except Exception as error:
        # Usage errors of the parser, whose classes have moved between typer's versions.
        if not hasattr(error, "format_message"):
            raise
        return _fail(f"{error.format_message()} (see jaxct --help)")


def _fail(message: str) -> int:
    print("jaxct: error:", " ".join(message.split()), file=sys.stderr)
    return USER_ERROR
