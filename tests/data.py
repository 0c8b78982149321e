"""Where the measured scans lie: the folder in JAXCT_DATA, else ``shared/data`` beside the checkout."""

import os
from pathlib import Path

import pytest

_DEFAULT = Path(__file__).resolve().parents[2] / "shared" / "data"


def data_path(relative: str) -> Path:
    """Path of a measured file, or a skip that names what is missing."""
    path = Path(os.environ.get("JAXCT_DATA", _DEFAULT)) / relative
    if not path.exists():
        pytest.skip(f"measured data not found: {relative} (set JAXCT_DATA)")
    return path
