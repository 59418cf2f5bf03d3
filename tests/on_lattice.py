"""Pictures up a bridge on a lattice in one process, and down again in another:

python -m tests.on_lattice up FILE
python -m tests.on_lattice down FILE OUT
"""

import sys

import numpy as np

from ddib_jax import translation
from ddib_jax.bridge import Auxiliary
from ddib_jax.data.png import to_bytes
from tests.test_lattice import IMAGES, learnt, over


def main(direction: str, path: str, out: str = "") -> None:
    half = over(learnt(1), precision="bfloat16")
    if direction == "up":
        up = translation.encode(half, IMAGES, batch_size=4)
        np.savez(path, latents=up.y, pairs=up.aux.value, batch=up.aux.batch)
        return
    kept = np.load(path)
    aux = Auxiliary(
        kept["pairs"],
        np.asarray(half.sigmas),
        half.solver,
        rising=True,
        precision="bfloat16",
        batch=int(kept["batch"]),
    )
    down = translation.hand_on(half, aux, rising=False)
    np.savez(out, pictures=to_bytes(down.y), closed=half.solver.is_start(down.aux.value))


if __name__ == "__main__":
    main(*sys.argv[1:])
