"""The oracle: slow projectors in plain JAX, written from the models' definitions, one model a file.

They are the truth that the native operators are tested against, and a place to read what a model means. Memory grows
with (pixels of a view) x (voxels), so they are for small problems.
"""

from jaxct.reference.operators import MODELS, back_project, forward_project

__all__ = ["MODELS", "back_project", "forward_project"]
