"""Adversarial training: CycleGAN, a method of translation, and DCGAN, which it descends from."""

from ddib_jax.gan.cyclegan import CycleGAN
from ddib_jax.gan.dcgan import DCGAN
from ddib_jax.gan.losses import GAN_LOSSES, ImagePool
from ddib_jax.gan.train_cyclegan import CycleGANTraining, train_cyclegan
from ddib_jax.gan.train_dcgan import DCGANTraining, train_dcgan

__all__ = [
    "DCGAN",
    "GAN_LOSSES",
    "CycleGAN",
    "CycleGANTraining",
    "DCGANTraining",
    "ImagePool",
    "train_cyclegan",
    "train_dcgan",
]
