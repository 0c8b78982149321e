"""Measured scans that come with the package; ``NOTICE.txt`` beside them names authors and licences."""

from pathlib import Path

WALNUT = Path(__file__).parents[1] / "data" / "walnut_cone_128_120v.h5"
"""A measured cone-beam scan of a walnut for :func:`jaxct.io.open_scan`: 120 views of 128 x 128 pixels, CC-BY-4.0."""
