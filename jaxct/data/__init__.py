"""Measured data that come with the package; ``NOTICE.txt`` beside this file names authors and licences."""

from pathlib import Path

WALNUT = Path(__file__).parent / "walnut_cone_128_120v.h5"
"""A measured cone-beam scan of a walnut, 120 views of 128 x 128 pixels, for ``jaxct.io.open_scan``. CC-BY-4.0."""
