"""Reconstruction, analytic and iterative: one algorithm a file."""

from jaxct.reconstruct import stopping
from jaxct.reconstruct.cgls import cgls
from jaxct.reconstruct.fbp import fbp
from jaxct.reconstruct.fdk import fdk
from jaxct.reconstruct.norms import squared_norm
from jaxct.reconstruct.run import LoopOptions, Result
from jaxct.reconstruct.sirt import sirt
from jaxct.reconstruct.subsets import ordered_subsets

__all__ = [
    "LoopOptions",
    "Result",
    "cgls",
    "fbp",
    "fdk",
    "ordered_subsets",
    "sirt",
    "squared_norm",
    "stopping",
]
