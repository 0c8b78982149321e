"""Reconstruction, analytic and iterative: one algorithm a file."""

from jaxct.reconstruct import implicit, proximal, stopping
from jaxct.reconstruct.admm_tv import admm_tv
from jaxct.reconstruct.asd_pocs import asd_pocs
from jaxct.reconstruct.bsrem import bsrem
from jaxct.reconstruct.cgls import cgls
from jaxct.reconstruct.dictionary import dictionary_em, learn_dictionary
from jaxct.reconstruct.dip import dip
from jaxct.reconstruct.diprecon import diprecon
from jaxct.reconstruct.fbp import fbp
from jaxct.reconstruct.fdk import fdk
from jaxct.reconstruct.fista import fista
from jaxct.reconstruct.kem import Kernel, kem
from jaxct.reconstruct.landweber import landweber
from jaxct.reconstruct.lsmr import lsmr
from jaxct.reconstruct.lsqr import lsqr
from jaxct.reconstruct.map_em import map_em, map_em_step
from jaxct.reconstruct.minimize import minimize
from jaxct.reconstruct.mlem import mlem
from jaxct.reconstruct.norms import squared_norm
from jaxct.reconstruct.osem import osem
from jaxct.reconstruct.pdhg import constant_tv_weight, pdhg
from jaxct.reconstruct.plug_and_play import plug_and_play
from jaxct.reconstruct.pwls import pwls
from jaxct.reconstruct.run import LoopOptions, Result
from jaxct.reconstruct.sart import os_sart, sart
from jaxct.reconstruct.sirt import sirt
from jaxct.reconstruct.spdhg import spdhg
from jaxct.reconstruct.subsets import ordered_subsets
from jaxct.reconstruct.svrg import svrg
from jaxct.reconstruct.transmission import mltr

__all__ = [
    "Kernel",
    "LoopOptions",
    "Result",
    "admm_tv",
    "asd_pocs",
    "bsrem",
    "cgls",
    "constant_tv_weight",
    "dictionary_em",
    "dip",
    "diprecon",
    "fbp",
    "fdk",
    "fista",
    "implicit",
    "kem",
    "landweber",
    "learn_dictionary",
    "lsmr",
    "lsqr",
    "map_em",
    "map_em_step",
    "minimize",
    "mlem",
    "mltr",
    "ordered_subsets",
    "os_sart",
    "osem",
    "pdhg",
    "plug_and_play",
    "proximal",
    "pwls",
    "sart",
    "sirt",
    "spdhg",
    "squared_norm",
    "stopping",
    "svrg",
]
