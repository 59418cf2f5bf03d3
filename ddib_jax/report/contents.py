"""What a report takes out of a run; what is missing is one sentence."""

from collections.abc import Sequence

import numpy as np

from ddib_jax.runs import Run, Table


def table_of(run: Run, name: str) -> Table:
    """A table of the run; raises ValueError where it is missing."""
    if name not in run.tables:
        raise ValueError(
            f"The run '{run.name}' has no table '{name}', which its report needs; run it again."
        )
    return run.tables[name]


def array_of(run: Run, name: str) -> np.ndarray:
    """An array of the run; raises ValueError where it is missing."""
    return arrays_of(run, [name])[0]


def arrays_of(run: Run, names: Sequence[str]) -> list[np.ndarray]:
    """Arrays of the run; raises ValueError that names the missing ones."""
    missing = [f"'{name}'" for name in names if name not in run.arrays]
    if missing:
        raise ValueError(
            f"The run '{run.name}' has no array {', '.join(missing)}, which its report draws; run"
            " it again."
        )
    return [run.arrays[name] for name in names]
