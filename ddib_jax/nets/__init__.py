"""Networks in linen; each is a frozen dataclass of its own options."""

from flax import linen as nn

from ddib_jax.nets.classifier import DigitClassifier
from ddib_jax.nets.mlp import MLP
from ddib_jax.nets.unet import UNet

NETWORKS: dict[str, type[nn.Module]] = {"unet": UNet, "mlp": MLP, "digit-classifier": DigitClassifier}

__all__ = ["MLP", "NETWORKS", "DigitClassifier", "UNet"]
