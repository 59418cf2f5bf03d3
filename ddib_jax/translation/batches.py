"""Conditions of images of their own, as a part of their batch."""

from dataclasses import replace
from typing import Any

from ddib_jax.bridge import Bridge


def conditions(cond: Any) -> dict[str, Any]:
    """The part of a batch that conditions [n ...] are; none for None."""
    return {} if cond is None else {"cond": cond}


def under(bridge: Bridge, batch: dict) -> Bridge:
    """The bridge under the batch's own conditions, where it has some."""
    if "cond" not in batch:
        return bridge
    return replace(bridge, model=bridge.model.given(batch["cond"]))
