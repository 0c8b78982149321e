"""Most of the suite's time is XLA compiling small functions once: it may compile them plainly."""

import os

os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_backend_optimization_level=0".strip()
