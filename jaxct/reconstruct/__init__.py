"""Reconstruction, analytic and iterative: one algorithm a file."""

from jaxct.reconstruct import stopping
from jaxct.reconstruct.cgls import cgls
from jaxct.reconstruct.fbp import fbp
from jaxct.reconstruct.fdk import fdk
from jaxct.reconstruct.landweber import landweber
from jaxct.reconstruct.lsmr import lsmr
from jaxct.reconstruct.lsqr import lsqr
from jaxct.reconstruct.mlem import mlem
from jaxct.reconstruct.norms import squared_norm
from jaxct.reconstruct.osem import osem
from jaxct.reconstruct.pdhg import constant_tv_weight, pdhg
from jaxct.reconstruct.run import LoopOptions, Result
from jaxct.reconstruct.sart import os_sart, sart
from jaxct.reconstruct.sirt import sirt
from jaxct.reconstruct.subsets import ordered_subsets
from jaxct.reconstruct.transmission import mltr

__all__ = [
    "LoopOptions",
    "Result",
    "cgls",
    "constant_tv_weight",
    "fbp",
    "fdk",
    "landweber",
    "lsmr",
    "lsqr",
    "mlem",
    "mltr",
    "ordered_subsets",
    "os_sart",
    "osem",
    "pdhg",
    "sart",
    "sirt",
    "squared_norm",
    "stopping",
]
