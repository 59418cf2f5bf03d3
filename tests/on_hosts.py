"""The training of one process of several.

    python -m tests.on_hosts DIRECTORY INDEX COUNT PORT

It resumes where DIRECTORY has a checkpoint, and writes the arrays of its last state to
DIRECTORY/final-INDEX.npz. At step DIE_AT of the environment the process ends without a word; it
pauses PAUSE seconds for every batch, needs LATE seconds more than it should to compile, and takes
STEPS_PER_CALL.
"""

import os
import sys
import time

# tensorboardX would import torch where it is installed, which takes seconds.
if __name__ == "__main__":
    sys.modules.setdefault("torch", None)

import jax
import numpy as np

from ddib_jax import distributed
from ddib_jax.training import Callback, Checkpoints, Stopped, TrainingLog, fit

STEPS = 24


def main(directory: str, index: int, count: int, port: int) -> int:
    if count > 1:
        distributed.join_hosts(coordinator=f"127.0.0.1:{port}", count=count, index=index)
    # Imported here, as it computes, which a process must not have done before it joins others.
    from tests.training.problem import KEY, arrays, batches, problem

    state, whole, options = problem(STEPS, width=64, pause=float(os.environ.get("PAUSE", "0")))
    own = distributed.shard()
    index, count = own.index, own.count

    def batch_at(step):
        if step == int(os.environ.get("DIE_AT", "-1")):
            time.sleep(1)  # for the steps before
            os._exit(9)
        return {name: np.split(leaf, count)[index] for name, leaf in whole(step).items()}

    grad_fn = options.pop("grad_fn")

    def slow_to_compile(*args):
        time.sleep(float(os.environ.get("LATE", "0")))
        return grad_fn(*args)

    checkpoints = Checkpoints(directory, {"steps": STEPS})
    state = checkpoints.restore(state) or state
    print(
        f"{count} hosts, {jax.local_device_count()} devices here, from step {int(state.step)}",
        flush=True,
    )
    log = (
        TrainingLog(checkpoints.directory, start=int(state.step), steps=STEPS, quiet=True)
        if index == 0
        else None
    )
    per_call = int(os.environ.get("STEPS_PER_CALL", "1"))
    try:
        state = fit(
            KEY,
            state,
            batches(batch_at, state),
            **options,
            grad_fn=slow_to_compile,
            callbacks=[
                log.every(per_call) if log else Callback(per_call, None),
                checkpoints.every(3),
            ],
            steps_per_call=per_call,
        )
    except Stopped as stopped:
        print(stopped, flush=True)
        checkpoints.close()
        return 3
    checkpoints.close()
    np.savez(checkpoints.directory / f"final-{index}.npz", **arrays(state))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], *map(int, sys.argv[2:])))
