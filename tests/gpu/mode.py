"""How the checks in this folder are to run: see conftest.py. Apart, so that scripts need not import pytest."""

import os

MODE = os.environ.get("JAXCT_GPU_CHECKS", "")
REHEARSAL = MODE == "rehearsal"
