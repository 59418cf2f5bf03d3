"""Regularised inversion (Parmar et al. 2023): latents that look like the noise they should be."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import struct
from jaxtyping import Array, Float

from ddib_jax.bridge import Bridge, Coupling, as_floats, decode_coupled
from ddib_jax.diffusion import probability_flow
from ddib_jax.solvers import solve, without_failures
from ddib_jax.types import Cond, Data, Keys, Latent, Scalar, VectorField

WEIGHT = 20.0
"""Of either term in the paper's code, whose steps of descent are of this length."""
STEPS, SHIFTS = 5, 5
"""Steps of descent at every look at the noise, and shifts that each of them averages."""
_SMALLEST = 8
"""Pixels a side at which the pyramid of halved pictures ends."""


@struct.dataclass
class RegularisedInversion:
    """A coupled DDIB whose encoding keeps the noise that the network predicts close to white noise.

    A `Translator`. The slope of the way up is the predicted noise (x - D) / sigma after `steps`
    steps of descent on how much neighbouring pixels have in common and how far mean and variance
    are from 0 and 1 (`autocorrelation`, `divergence`), times the weights. The way down is the
    coupling's, so that the source's row comes back with an error: an encoding that guidance can
    edit, for one that is exact. The shifts are drawn once for an image, from its key, where the
    paper's code draws them at every step: the slope is a function of state and level, and any
    solver serves.

    source, target: bridges of one model under two conditions. until: the noise level at which the
    coupling ends; None: it lasts to the end.
    """

    source: Bridge
    target: Bridge
    coupling: Coupling
    until: Scalar | float | None = None
    correlation: Scalar | float = WEIGHT
    normality: Scalar | float = WEIGHT
    steps: int = struct.field(pytree_node=False, default=STEPS)

    def __call__(self, keys: Keys, image: Data) -> Data:
        """Images [b h w c] in [-1, 1] and their keys [b] -> edited ones [b h w c]."""
        latent = self.encode(keys, image)
        solution = decode_coupled(
            self.coupling, self.source.model, self.target, latent, until=self.until
        )
        return self.target.model.to_image(solution.y)

    def given(self, source: Cond, target: Cond) -> "RegularisedInversion":
        """This edit with its bridges under conditions; None leaves one under its own."""
        return replace(self, source=self.source.under(source), target=self.target.under(target))

    def encode(self, keys: Keys, image: Data) -> Latent:
        """The latents [b ...] of images [b h w c], NaN where the solver missed its tolerance."""
        source = self.source
        data = source.model.to_data(jnp.asarray(as_floats(image, "images")))
        solution = solve(source.solver, self.field(keys), data, source.sigmas)
        return without_failures(source.solver, solution).y / source.scale

    def field(self, keys: Keys) -> VectorField:
        """The slope of the way up, for images of the keys [b]."""
        plain = probability_flow(self.source.model)
        shifts = jax.vmap(lambda key: jax.random.uniform(key, (self.steps, SHIFTS, 2)))(keys)
        white = partial(
            whitened, correlation=self.correlation, normality=self.normality, steps=self.steps
        )
        return lambda sigma, x: jax.vmap(white)(plain(sigma, x), shifts)


def whitened(
    noise: Float[Array, "h w c"],
    shifts: Float[Array, "steps shifts 2"],
    *,
    correlation: Scalar | float = WEIGHT,
    normality: Scalar | float = WEIGHT,
    steps: int = STEPS,
) -> Float[Array, "h w c"]:
    """Noise after steps of descent towards white noise of unit variance.

    At each step -correlation / shifts grad `autocorrelation` is added for every shift, one after
    the other, then -normality grad `divergence`; none of them is longer than a tenth of the noise,
    for descent of a fixed rate, as in the paper's code, diverges where pictures are small or even.
    shifts: as shares of half a side, in [0, 1).
    """

    def moved(noise: Array, rate: Scalar | float, gradient: Array) -> Array:
        move = rate * gradient
        length = lambda a: jnp.sqrt(jnp.sum(jnp.square(a)))
        allowed = _LONGEST * length(noise) / jnp.maximum(length(move), _TINY)
        return noise - jnp.minimum(allowed, 1) * move

    def step(noise: Array, shifts: Array) -> tuple[Array, None]:
        for shift in shifts:
            gradient = jax.grad(autocorrelation)(noise, shift)
            noise = moved(noise, correlation / len(shifts), gradient)
        return moved(noise, normality, jax.grad(divergence)(noise)), None

    return jax.lax.scan(step, noise, shifts, length=steps)[0]


def autocorrelation(noise: Float[Array, "h w c"], shift: Float[Array, " 2"]) -> Scalar:
    """How much pixels have in common with those some pixels away, across and along.

    The squared mean of their products, summed over channels and over a pyramid of pictures that are
    halved down to 8 pixels a side. shift: as shares of half a side, down and across; one pixel at
    least, where the paper's code draws none too, and takes the variance for a correlation.
    """
    total, picture = jnp.zeros(()), noise
    while True:
        for axis in range(2):
            half = picture.shape[axis] // 2
            amount = 1 + jnp.floor(shift[axis] * max(half - 1, 1)).astype(int)
            product = picture * jnp.roll(picture, amount, axis=axis)
            total += jnp.sum(jnp.square(product.mean(axis=(0, 1))))
        if min(picture.shape[:2]) <= _SMALLEST:
            return total
        picture = nn.avg_pool(picture, (2, 2), (2, 2))


def divergence(noise: Float[Array, "..."]) -> Scalar:
    """Twice the Kullback-Leibler divergence of N(mean, variance) of all values from N(0, 1)."""
    mean, variance = noise.mean(), noise.var(ddof=1)
    return variance + jnp.square(mean) - 1 - jnp.log(variance + _SMALL)


_SMALL = 1e-7
_LONGEST = 0.1
_TINY = 1e-30  # below any norm of float32 that is told from 0
