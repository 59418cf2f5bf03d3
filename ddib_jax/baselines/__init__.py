"""Other methods of translation, each a `Translator`, called with (keys, images)."""

from ddib_jax.baselines.ilvr import ILVR
from ddib_jax.baselines.sdedit import SDEdit
from ddib_jax.baselines.trivial import Identity, Nearest

__all__ = ["ILVR", "Identity", "Nearest", "SDEdit"]
