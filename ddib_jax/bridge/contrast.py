"""A picture or its negative: whichever of them the other domain's model knows."""

import jax.numpy as jnp
from flax import struct

from ddib_jax.bridge.checks import as_floats
from ddib_jax.bridge.ddib import DDIB, fixed_noise
from ddib_jax.types import Data, Keys, Scalar


@struct.dataclass
class EitherContrast:
    """A DDIB of each image or of its negative, whichever the target's model denoises better.

    A latent holds the signs of contrasts, and a bridge keeps them: where the target's domain has
    light things on dark ground alone, dark ones on light ground are translated wrongly. Of the two
    the target's model is shown each with the same noise of the level `sigma`, and the one that it
    gives back with the smaller squared error is translated (a model as a classifier: Li et al.
    2023). Nothing is learnt, and it costs two more evaluations an image. The source's domain should
    hold negatives as well as positives. With other perturbations of the image these come after.
    """

    ddib: DDIB
    sigma: Scalar | float

    def __call__(self, keys: Keys, image: Data) -> Data:
        """As a `DDIB`: images [b h w c] in [-1, 1] and their keys [b] -> translations."""
        return self.ddib(keys, self.chosen(keys, image))

    def chosen(self, keys: Keys, image: Data) -> Data:
        """Each of the images [b h w c], or its negative."""
        image = jnp.asarray(as_floats(image, "images"))
        here, there = self._error(keys, image), self._error(keys, -image)
        return jnp.where((here <= there).reshape(-1, *[1] * (image.ndim - 1)), image, -image)

    def check(self) -> None:
        """Raise ValueError for a level that the target's model does not know, or as a DDIB does.

        Also for models of unlike numbers of channels.
        """
        self.ddib.check()
        if not self.ddib.alike:
            raise ValueError(
                "The target's model looks at the source's images to choose between them and their"
                " negatives, and the two have unlike numbers of channels; leave the choice out."
            )
        low, high = self.ddib.target.model.schedule.sigma_range
        if not low < float(self.sigma) < high:
            raise ValueError(
                f"The target's model knows noise levels from {low:g} to {high:g}; choose between an"
                f" image and its negative at one of them, not at {float(self.sigma):g}."
            )

    def _error(self, keys: Keys, image: Data) -> Data:
        """The mean squared error [b] that the target's model makes of the images."""
        model = self.ddib.target.model
        data = model.to_data(image)
        sigma = jnp.asarray(self.sigma, data.dtype)
        apart = model.denoise(data + sigma * fixed_noise(keys, data), sigma) - data
        return jnp.mean(apart.reshape(len(apart), -1) ** 2, axis=1)
