"""Networks in linen; each is a frozen dataclass of its own options."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from ddib_jax.nets.autoencoder_kl import AutoencoderKL
from ddib_jax.nets.captioned import Captioned
from ddib_jax.nets.classifier import DigitClassifier
from ddib_jax.nets.clip_text import CLIPText
from ddib_jax.nets.cyclegan import PatchDiscriminator, ResnetGenerator, UnetGenerator
from ddib_jax.nets.dcgan import DCGANDiscriminator, DCGANGenerator
from ddib_jax.nets.edm_unet import DhariwalUNet, SongUNet
from ddib_jax.nets.encoder import NoisyClassifier
from ddib_jax.nets.mlp import MLP
from ddib_jax.nets.student import Student
from ddib_jax.nets.unet import UNet
from ddib_jax.nets.unet2d import UNet2D
from ddib_jax.nets.unet2d_condition import UNet2DCondition
from ddib_jax.nets.vq_model import VQModel
from ddib_jax.types import Cond, Network

NETWORKS: dict[str, type[nn.Module]] = {
    "unet": UNet,
    "unet2d": UNet2D,
    "unet2d-condition": UNet2DCondition,
    "clip-text": CLIPText,
    "song-unet": SongUNet,
    "dhariwal-unet": DhariwalUNet,
    "mlp": MLP,
    "digit-classifier": DigitClassifier,
    "noisy-classifier": NoisyClassifier,
    "resnet-generator": ResnetGenerator,
    "unet-generator": UnetGenerator,
    "student": Student,
    "dcgan-generator": DCGANGenerator,
}
"""Name of a network in `model.json` -> its class; the class's fields are the network's options."""


def example_condition(network: Network) -> Cond:
    """A condition of one image, zeros [1 ...] of the network's spec; None where it takes none."""
    zeros = lambda leaf: jnp.zeros((1, *leaf.shape), leaf.dtype)
    return jax.tree.map(zeros, network.condition_spec())


def rematerialised(network: Network) -> Network:
    """The network with its blocks computed anew on the way back, for less memory and more time.

    Raises ValueError for a network without that option (`remat`).
    """
    if isinstance(network, Captioned):
        return network.rematerialised()
    if not isinstance(network, nn.Module) or not hasattr(network, "remat"):
        raise ValueError(
            f"{type(network).__name__} has no blocks to compute anew; leave remat out."
        )
    return network.clone(remat=True)


__all__ = [
    "MLP",
    "NETWORKS",
    "AutoencoderKL",
    "CLIPText",
    "Captioned",
    "DCGANDiscriminator",
    "DCGANGenerator",
    "DhariwalUNet",
    "DigitClassifier",
    "NoisyClassifier",
    "PatchDiscriminator",
    "ResnetGenerator",
    "SongUNet",
    "Student",
    "UNet",
    "UNet2D",
    "UNet2DCondition",
    "UnetGenerator",
    "VQModel",
    "example_condition",
    "rematerialised",
]
