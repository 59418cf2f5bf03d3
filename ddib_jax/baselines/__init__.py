"""Other methods of translation, each a `Translator`, called with (keys, images); and DCGAN."""

from ddib_jax.baselines.cyclegan import CycleGAN
from ddib_jax.baselines.dcgan import DCGAN
from ddib_jax.baselines.ilvr import ILVR
from ddib_jax.baselines.sdedit import SDEdit
from ddib_jax.baselines.trivial import Identity, Nearest

__all__ = ["DCGAN", "ILVR", "CycleGAN", "Identity", "Nearest", "SDEdit"]
