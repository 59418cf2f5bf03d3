"""A small convolutional classifier of (coloured) digits: the judge of translations and the eye of
Frechet distances.
"""

from collections.abc import Sequence

from flax import linen as nn
from jaxtyping import Array, Float


class DigitClassifier(nn.Module):
    """Convolutions over the brightness (the largest channel), so that colour cannot sway the
    verdict.

    Called on images [b h w c] in [-1, 1] it returns logits [b classes] and the features [b
    features] that they are linear in.
    """

    widths: Sequence[int] = (16, 32, 64)
    features: int = 64
    classes: int = 10
    dropout: float = 0.3

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], train: bool = False) -> tuple[Array, Array]:
        h = x.max(axis=-1, keepdims=True)
        for width in self.widths:
            h = nn.Conv(width, (3, 3))(h)
            h = nn.silu(nn.GroupNorm(8)(h))
            h = nn.Conv(width, (3, 3))(h)
            h = nn.max_pool(nn.silu(nn.GroupNorm(8)(h)), (2, 2), (2, 2))
        h = nn.Dropout(self.dropout, deterministic=not train)(h.reshape(len(h), -1))
        features = nn.silu(nn.Dense(self.features)(h))
        return nn.Dense(self.classes)(features), features
