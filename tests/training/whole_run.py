"""A training in a process of its own, to be killed or starved of disk.

    python -m tests.training.whole_run DIRECTORY FINAL

It resumes where DIRECTORY has a checkpoint, and writes the arrays of its last state to FINAL.
"""

import os
import sys

# tensorboardX would import torch where it is installed, which takes seconds.
if __name__ == "__main__":
    sys.modules.setdefault("torch", None)

import numpy as np

from ddib_jax.training import Checkpoints, TrainingLog, fit
from tests.training.problem import KEY, arrays, batches, problem

STEPS = 30
WIDTH = 20000


def main(directory: str, final: str) -> int:
    state, batch_at, options = problem(STEPS, width=WIDTH, pause=float(os.environ["PAUSE"]))
    try:
        checkpoints = Checkpoints(directory, {"steps": STEPS})
        state = checkpoints.restore(state) or state
        print(f"from step {int(state.step)}", flush=True)
        log = TrainingLog(checkpoints.directory, start=int(state.step), steps=STEPS, quiet=True)
        callbacks = [log.every(1), checkpoints.every(3)]
        state = fit(KEY, state, batches(batch_at, state), **options, callbacks=callbacks)
        log.close()
        checkpoints.close()
    except OSError as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    np.savez(final, **arrays(state))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
