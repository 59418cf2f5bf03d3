"""A small convolutional classifier of digits, plain or coloured.

Its logits say which digit a translation shows; its features are those of the Frechet distances.
"""

from collections.abc import Sequence

from flax import linen as nn
from jaxtyping import Array, Float


class DigitClassifier(nn.Module):
    """A classifier of digits that is blind to their colour.

    widths: channels of the convolutions, two to a level, each level half the resolution of the one
    before. dropout: of the flattened maps, in training alone.
    """

    widths: Sequence[int] = (16, 32, 64)
    features: int = 64
    classes: int = 10
    dropout: float = 0.3

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w c"], *, train: bool = False
    ) -> tuple[Float[Array, "b k"], Float[Array, "b d"]]:
        """Images [b h w c] in [-1, 1] -> logits [b classes], features [b features].

        The logits are linear in the features.
        """
        # The value of HSV, the largest channel: a digit of any hue is as bright as a white one.
        h = x.max(axis=-1, keepdims=True)
        for width in self.widths:
            h = nn.Conv(width, (3, 3))(h)
            h = nn.silu(nn.GroupNorm(8)(h))
            h = nn.Conv(width, (3, 3))(h)
            h = nn.max_pool(nn.silu(nn.GroupNorm(8)(h)), (2, 2), (2, 2))
        h = nn.Dropout(self.dropout, deterministic=not train)(h.reshape(len(h), -1))
        features = nn.silu(nn.Dense(self.features)(h))
        return nn.Dense(self.classes)(features), features
