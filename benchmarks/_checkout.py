"""Import this before ``tests.gpu``, which says what GPU there is and counts memory for the GPU benchmark, too.

``make bench-gpu`` has the checkout on PYTHONPATH. For a script started by hand it comes last here: an installed jaxct
has compiled modules, the checkout's has none.
"""

import sys

from _common import ROOT

if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))
