"""A run with checkpoints that somebody kills: ``python -m tests.run_script CHECKPOINT RESULT``."""

import sys

import numpy as np

import jaxct


def main(checkpoint: str, result: str) -> None:
    geometry = jaxct.ParallelBeam(np.linspace(0, np.pi, 30, endpoint=False), detector_shape=(48,))
    grid = jaxct.VolumeGrid((32, 32))
    data = jaxct.phantoms.shepp_logan(radius=15.0).project(geometry)
    volume, history = jaxct.reconstruct.cgls(
        jaxct.Projector(geometry, grid),
        data,
        num_iters=60,
        checkpoint=checkpoint,
        checkpoint_every=1,
        callback=lambda iteration, *_: print(iteration, flush=True),
    )
    np.savez(result, volume=volume, **history)


if __name__ == "__main__":
    main(*sys.argv[1:])
