"""State dicts within what trainings wrap around them: other dicts, and prefixes of names."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

_PREFIXES = (
    "module",
    "_orig_mod",
    "ema_model",
    "online_model",
    "model_ema",
    "ema",
    "model",
    "unet",
    "net",
    "network",
)
"""What wrappers of torch (data parallel, compiled, averaged) and trainings put before names."""
_COUNTS = {"step", "initted", "n_averaged", "num_updates", "decay"}
"""What wrappers count beside the tensors, under names without a prefix."""


class Renamed(Mapping):
    """Tensors under other names: `names` has, for each of them, the one it is stored under."""

    def __init__(self, weights: Mapping, names: Mapping[str, str]):
        self._weights, self._names = weights, names

    def __getitem__(self, name: str) -> np.ndarray:
        return self._weights[self._names[name]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def contained(
    state: dict, is_tensor: Callable[[Any], bool], path: Path, weights: str | None
) -> dict:
    """The state dict among the members of `state`, or `state` itself where it has tensors.

    Members are `state_dict`, `ema`, `model` and the like, beside steps and states of optimisers.
    weights: the member to take. Raises ValueError, with the names, where there are several and none
    is chosen, or the one chosen is not there.
    """
    if any(map(is_tensor, state.values())):
        return state
    members = {
        str(name): member
        for name, member in state.items()
        if isinstance(member, dict) and member and all(map(is_tensor, member.values()))
    }
    if not members:
        return state
    return members[_chosen(list(members), path, weights)]


# Without a type for the tensors, as one that checks it would read them, damaged or not.
def unwrapped(tensors: Mapping[str, Any], path: Path, weights: str | None) -> Mapping[str, Any]:
    """The tensors without the prefixes that wrappers put before all of their names.

    Where there are several models under prefixes of their own (`online_model.`, `ema_model.`), the
    one that `weights` names; raises ValueError, with the names, where none is chosen.
    """
    names = {name: name for name in tensors}
    while names:
        firsts = {name.partition(".")[0] for name in names if "." in name}
        wrappers = sorted(firsts & set(_PREFIXES))
        bare = {name for name in names if "." not in name}
        if not wrappers or firsts - set(wrappers) or bare - _COUNTS:
            break
        prefix = wrappers[0]
        if len(wrappers) > 1:
            prefix = _chosen(wrappers, path, weights)
        names = {
            name.removeprefix(f"{prefix}."): stored
            for name, stored in names.items()
            if name.startswith(f"{prefix}.")
        }
    return tensors if list(names) == list(tensors) else Renamed(tensors, names)


def _chosen(names: list[str], path: Path, weights: str | None) -> str:
    if weights in names:
        return str(weights)
    if weights is None and len(names) == 1:
        return names[0]
    example = f"`ddib convert {path} --weights {names[-1]} --to ddib --out DIRECTORY`"
    if weights is None:
        raise ValueError(
            f"{path} holds the weights {', '.join(names)}; say which ones are meant, as in"
            f" {example}."
        )
    if len(names) == 1:
        return names[0]
    raise ValueError(f"{path} holds no weights '{weights}', but {', '.join(names)}.")
