"""Networks in linen; each is a frozen dataclass of its own options."""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array

from ddib_jax.nets.classifier import DigitClassifier
from ddib_jax.nets.cyclegan import PatchDiscriminator, ResnetGenerator, UnetGenerator
from ddib_jax.nets.dcgan import DCGANDiscriminator, DCGANGenerator
from ddib_jax.nets.edm_unet import DhariwalUNet, SongUNet
from ddib_jax.nets.encoder import NoisyClassifier
from ddib_jax.nets.mlp import MLP
from ddib_jax.nets.unet import UNet
from ddib_jax.nets.unet2d import UNet2D

NETWORKS: dict[str, type[nn.Module]] = {
    "unet": UNet,
    "unet2d": UNet2D,
    "song-unet": SongUNet,
    "dhariwal-unet": DhariwalUNet,
    "mlp": MLP,
    "digit-classifier": DigitClassifier,
    "noisy-classifier": NoisyClassifier,
    "resnet-generator": ResnetGenerator,
    "unet-generator": UnetGenerator,
    "dcgan-generator": DCGANGenerator,
}
"""Name of a network in `model.json` -> its class; the class's fields are the network's options."""


def example_condition(network: Any) -> Array | None:
    """A condition of the kind that a network takes: labels [1], embeddings [1 e], or None."""
    if hasattr(network, "example_condition"):
        return network.example_condition()
    return None if getattr(network, "num_classes", None) is None else jnp.zeros(1, jnp.int32)


__all__ = [
    "MLP",
    "NETWORKS",
    "DCGANDiscriminator",
    "DCGANGenerator",
    "DhariwalUNet",
    "DigitClassifier",
    "NoisyClassifier",
    "PatchDiscriminator",
    "ResnetGenerator",
    "SongUNet",
    "UNet",
    "UNet2D",
    "UnetGenerator",
    "example_condition",
]
