"""What ``jax.export`` has to be told of jaxct's custom calls."""

import jax.export

from jaxct import _native


def export_checks() -> list[jax.export.DisabledSafetyCheck]:
    """The checks to leave out, so that a program with jaxct's operators can be serialised.

    ``jax.export.export(jax.jit(f), disabled_checks=jaxct.export_checks())`` works on any machine for any platform that
    jaxct has kernels for, ``platforms=("cpu", "cuda")``, whether it has such a device or not. The names and the
    attributes of the calls are those of this version of jaxct: load the program with the same one, after ``import
    jaxct``.

    Raises:
        ImportError: without the compiled module.
    """
    targets = _native.require("cpu").registrations()
    return [jax.export.DisabledSafetyCheck.custom_call(target) for target in targets]
