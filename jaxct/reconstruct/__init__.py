"""Reconstruction, analytic and iterative: one algorithm a file."""

from jaxct.reconstruct.cgls import cgls
from jaxct.reconstruct.fbp import fbp
from jaxct.reconstruct.fdk import fdk
from jaxct.reconstruct.run import Result
from jaxct.reconstruct.sirt import sirt

__all__ = ["Result", "cgls", "fbp", "fdk", "sirt"]
