"""Draws walnut.png: slices of the bundled walnut as ``jaxct demo`` reconstructs and draws them, FDK alone, smaller.

python docs/figures/walnut.py [FILE]
"""

import sys
from pathlib import Path
from typing import Any

import jaxct
from jaxct.plot import plot_slices


def draw() -> Any:
    scan = jaxct.io.open_scan(jaxct.io.WALNUT)
    volume = jaxct.reconstruct.fdk(scan.line_integrals().values, scan.geometry, scan.grid, window="shepp-logan")
    caption = f"Data: {scan.attribution} ({scan.licence})"
    return plot_slices({"FDK": volume}, scan.grid, title=scan.title, caption=caption)


if __name__ == "__main__":
    target = sys.argv[1] if len(sys.argv) > 1 else Path(__file__).with_suffix(".png")
    figure = draw()
    figure.savefig(target, dpi=75, facecolor=figure.get_facecolor())
