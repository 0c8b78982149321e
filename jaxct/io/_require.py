"""Optional dependencies, imported where they are used."""

import importlib
from types import ModuleType


def require(module: str, extra: str) -> ModuleType:
    """Import an optional module, or say which extra brings it.

    Raises:
        ImportError: naming the module and the extra.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.split(".")[0]
        raise ImportError(f"{package} is needed for this: pip install 'jaxct[{extra}]'") from error
