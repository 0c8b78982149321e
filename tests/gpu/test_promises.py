"""The promises of the whole suite, kept on the GPU: the same tests, with the GPU as JAX's default device.

vmap over volumes, geometries, grids, both and nested equals a loop; gradients are the explicit transposes; forward
mode, second order, scan and checkpoint; derivatives in the geometry agree with the oracle's; wild values stay where
their rays go.
"""

from tests.test_errors import (  # noqa: F401
    test_sizes_beyond_32_bits_are_refused_or_work,
    test_wild_values_stay_where_their_rays_go,
)
from tests.test_geometry_gradients import (  # noqa: F401
    test_both_modes_agree_with_the_oracle,
    test_corners_that_fall_together,
    test_half_precision_data,
    test_many_views_and_wide_footprints,
    test_mixed_second_derivatives,
    test_under_vmap_scan_and_checkpoint,
    test_voxels_in_the_plane_of_a_source,
)
from tests.test_gradients import *  # noqa: F403
from tests.test_vmap import *  # noqa: F403
