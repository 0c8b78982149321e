"""The promises of the whole suite, kept on the GPU: the same tests, with the GPU as JAX's default device.

vmap over volumes, geometries, grids, both and nested equals a loop; gradients are the explicit transposes; forward
mode, second order, scan and checkpoint; wild values stay where their rays go.
"""

from tests.test_errors import (  # noqa: F401
    test_sizes_beyond_32_bits_are_refused_or_work,
    test_wild_values_stay_where_their_rays_go,
)
from tests.test_gradients import *  # noqa: F403
from tests.test_vmap import *  # noqa: F403
