"""The smallest operator that an iterative algorithm takes: a dense matrix."""

import dataclasses

import jax

ROWS, COLS = 14, (2, 3)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Matrix:
    """A dense matrix that acts on images of shape COLS."""

    values: jax.Array

    in_shape = COLS

    @property
    def out_shape(self):
        return (self.values.shape[0],)

    @property
    def T(self):  # noqa: N802
        return lambda y: (self.values.T @ y).reshape(COLS)

    def __call__(self, x):
        return self.values @ x.ravel()

    def __getitem__(self, rows):
        return Matrix(self.values[rows])
