"""Positron emission tomography: lines of response, scanners, physics and what belongs to them."""

from jaxct.geometry.lors import TOF, ListMode, LORs, SinogramLORs

__all__ = ["TOF", "LORs", "ListMode", "SinogramLORs"]
