"""How the output of a network becomes a denoiser: seven parameterisations, one family.

Each is a Gaussian belief about the data. `prior(x, sigma)` is the exact denoiser of that Gaussian,
and `scale(sigma)` times the network's output F corrects it:

    D(x, sigma) = prior(x, sigma) + scale(sigma) * F(inputs(x, sigma), t)

              belief                  prior                          scale
    Epsilon   infinitely broad        x                              -sigma
    Score     infinitely broad        x                              sigma
    Velocity  N(0, I)                 x / (1 + sigma^2)              -sigma / sqrt(1 + sigma^2)
    Flow      N(0, sigma I)          x / (1 + sigma)                -sigma / (1 + sigma)
    Sample    a point at 0            0                              1
    EDM       N(0, sigma_data^2 I)    c_skip x                       its posterior deviation, c_out
    Wiener    N(mean, covariance)     the domain's Wiener filter     its posterior deviation

The signs of Epsilon, Velocity and Flow make F the noise epsilon of Ho et al. (2020), the velocity v
of Salimans and Ho (2022) and that of rectified flow. Flow's belief is as broad as the noise's
deviation. `sigma` is a scalar or has shape [b, 1, ..., 1]; x and the results have the
shape of the data [b, ...].
"""

import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float


@struct.dataclass
class Epsilon:
    """The network predicts the noise (Ho et al. 2020): D = x - sigma F."""

    def prior(self, x: Array, sigma: Array) -> Array:
        """x itself."""
        return x

    def scale(self, sigma: Array) -> Array:
        """-sigma."""
        return -sigma

    def inputs(self, x: Array, sigma: Array) -> Array:
        """x_t of a variance-preserving process: x / sqrt(1 + sigma^2)."""
        return _unit_variance(x, sigma)


@struct.dataclass
class Score:
    """The network predicts sigma times the score, from unscaled x: D = x + sigma F.

    So do the VE models of Song et al. (2021).
    """

    def prior(self, x: Array, sigma: Array) -> Array:
        """x itself."""
        return x

    def scale(self, sigma: Array) -> Array:
        """sigma."""
        return sigma

    def inputs(self, x: Array, sigma: Array) -> Array:
        """x itself."""
        return x


@struct.dataclass
class Velocity:
    """The network predicts v = alpha_t eps - sigma_t x0: D = alpha_t x_t - sigma_t F.

    Salimans and Ho (2022).
    """

    def prior(self, x: Array, sigma: Array) -> Array:
        """x / (1 + sigma^2), the denoiser of N(0, I)."""
        return x / (1 + sigma**2)

    def scale(self, sigma: Array) -> Array:
        """-sigma / sqrt(1 + sigma^2)."""
        return -sigma / jnp.sqrt(1 + sigma**2)

    def inputs(self, x: Array, sigma: Array) -> Array:
        """x_t of a variance-preserving process: x / sqrt(1 + sigma^2)."""
        return _unit_variance(x, sigma)


@struct.dataclass
class Flow:
    """The network predicts noise - data, from x_t = (1 - t) data + t noise: D = x_t - t F.

    Rectified flow (Liu et al. 2023), t = sigma / (1 + sigma).
    """

    def prior(self, x: Array, sigma: Array) -> Array:
        """x_t itself, which is the denoiser of N(0, sigma I)."""
        return x / (1 + sigma)

    def scale(self, sigma: Array) -> Array:
        """-t = -sigma / (1 + sigma)."""
        return -sigma / (1 + sigma)

    def inputs(self, x: Array, sigma: Array) -> Array:
        """x_t of a rectified flow: x / (1 + sigma)."""
        return x / (1 + sigma)


@struct.dataclass
class Sample:
    """The network predicts the clean data (Ho et al. 2020, x0-prediction): D = F."""

    def prior(self, x: Array, sigma: Array) -> Array:
        """Zero."""
        return jnp.zeros_like(x)

    def scale(self, sigma: Array) -> Array:
        """One."""
        return jnp.ones_like(sigma)

    def inputs(self, x: Array, sigma: Array) -> Array:
        """x_t of a variance-preserving process: x / sqrt(1 + sigma^2)."""
        return _unit_variance(x, sigma)


@struct.dataclass
class EDM:
    """The preconditioning of Karras et al. (2022), table 1: c_skip, c_out and c_in.

    They are those of data N(0, sigma_data^2 I).
    """

    sigma_data: float = struct.field(pytree_node=False, default=0.5)

    def prior(self, x: Array, sigma: Array) -> Array:
        """c_skip x."""
        return x * (self.sigma_data**2 / (sigma**2 + self.sigma_data**2))

    def scale(self, sigma: Array) -> Array:
        """c_out = sigma sigma_data / sqrt(sigma^2 + sigma_data^2)."""
        return sigma * self.sigma_data / jnp.sqrt(sigma**2 + self.sigma_data**2)

    def inputs(self, x: Array, sigma: Array) -> Array:
        """c_in x."""
        return x / jnp.sqrt(sigma**2 + self.sigma_data**2)


@struct.dataclass
class Wiener:
    """The domain's own Gaussian denoiser (its Wiener filter), corrected by the network.

    The data are believed N(mean, Sigma), Sigma = V diag(variances) V^T + rest (I - V V^T) from the
    leading principal directions V of the training set; the prior is mean + Sigma (Sigma +
    sigma^2)^-1 (x - mean), exact in the limit of large sigma, where it decides global properties
    such as colour. The network's input is the noisy image beside the filter's estimate (2 c
    channels), and its output is scaled by the filter's root mean posterior variance, so that its
    target has unit variance at every sigma.

    mean [h w c]; directions [k h w c], orthonormal; variances [k]; rest, a scalar: all are leaves,
    so that models of two domains share one compiled program. Of points [d], d - 1 directions are
    the whole covariance.
    """

    mean: Float[Array, "..."]
    directions: Float[Array, "k ..."]
    variances: Float[Array, " k"]
    rest: Float[Array, ""]

    @classmethod
    def fit(cls, images: Float[np.ndarray, "n ..."], *, rank: int = 128) -> "Wiener":
        """The mean and the `rank` leading principal directions of `images`, found in float64.

        They are rounded to float16, as in a stored model, so that training and loading agree.
        Raises ValueError for fewer images than `rank` + 1 and for images without variance.
        """
        flat = np.asarray(images, np.float64).reshape(len(images), -1)
        count, size = flat.shape
        if count <= rank or rank >= size:
            raise ValueError(
                f"{rank} directions of {size} need more images than {count}, or a lower rank."
            )
        mean = flat.mean(0)
        flat = flat - mean
        # Of few images, their products with each other are the smaller matrix. It has the same
        # eigenvalues, and eigenvectors u from which the directions follow as X^T u, normalised.
        is_few = count < size
        gram = flat @ flat.T if is_few else flat.T @ flat
        variances, vectors = np.linalg.eigh(gram / (count - 1))
        total = variances.sum()
        variances, directions = variances[::-1][:rank], vectors[:, ::-1][:, :rank]
        if is_few:
            lengths = np.sqrt(np.maximum(variances, np.finfo(float).tiny) * (count - 1))
            directions = flat.T @ directions / lengths
        if not total > 0:
            raise ValueError(
                "The images are all equal; a Wiener preconditioning needs some variance."
            )
        rest = max((total - variances.sum()) / (size - rank), 1e-6)
        half = lambda a: jnp.asarray(np.asarray(a, np.float16), jnp.float32)
        return cls(
            mean=half(mean.reshape(images.shape[1:])),
            directions=half(directions.T.reshape(rank, *images.shape[1:])),
            variances=jnp.asarray(variances, jnp.float32),
            rest=jnp.asarray(rest, jnp.float32),
        )

    def prior(self, x: Array, sigma: Array) -> Array:
        """mean + Sigma (Sigma + sigma^2)^-1 (x - mean)."""
        square = jnp.reshape(sigma, (-1, 1)) ** 2
        basis = self.directions.reshape(len(self.variances), -1)  # V^T
        centred = (x - self.mean[None]).reshape(len(x), -1)
        rest = self.rest / (self.rest + square)
        gains = self.variances[None] / (self.variances[None] + square) - rest
        filtered = rest * centred + (gains * (centred @ basis.T)) @ basis
        return self.mean[None] + filtered.reshape(x.shape)

    def flow(self, x: Array, sigma: Array, to: Array) -> Array:
        """The probability flow of the believed Gaussian from the noise level `sigma` to another.

        x [b ...] at sigma -> [b ...] at `to`, both scalars. Along a direction of variance v it is
        the distance from the mean times sqrt((v + to^2) / (v + sigma^2)), which solves dx/dsigma =
        (x - prior(x, sigma)) / sigma. The directions must be orthonormal to be undone by the way
        back.
        """
        ratio = lambda variance: jnp.sqrt((variance + to**2) / (variance + sigma**2))
        basis = self.directions.reshape(len(self.variances), -1)
        centred = (x - self.mean[None]).reshape(len(x), -1)
        gains = (ratio(self.variances) - ratio(self.rest))[None]
        along = jnp.matmul(centred, basis.T, precision="highest")
        flowed = ratio(self.rest) * centred + jnp.matmul(gains * along, basis, precision="highest")
        return self.mean[None] + flowed.reshape(x.shape)

    def scale(self, sigma: Array) -> Array:
        """The root mean posterior variance: sqrt(trace(Sigma sigma^2 (Sigma + sigma^2)^-1) / d)."""
        square = jnp.reshape(sigma, (-1, 1)) ** 2
        count, dimensions = len(self.variances), self.mean.size
        leading = jnp.sum(self.variances[None] * square / (self.variances[None] + square), axis=1)
        rest = (dimensions - count) * (self.rest * square / (self.rest + square))[:, 0]
        return jnp.reshape(jnp.sqrt((leading + rest) / dimensions), jnp.shape(sigma))

    def inputs(self, x: Array, sigma: Array) -> Array:
        """The noisy image and the Wiener estimate [b h w 2c], both centred, of variance about 1."""
        trace = jnp.sum(self.variances) + (self.mean.size - len(self.variances)) * self.rest
        variance = trace / self.mean.size
        noisy = (x - self.mean[None]) / jnp.sqrt(sigma**2 + variance)
        estimate = (self.prior(x, sigma) - self.mean[None]) / jnp.sqrt(variance)
        return jnp.concatenate([noisy, estimate], axis=-1)


def _unit_variance(x: Array, sigma: Array) -> Array:
    return x / jnp.sqrt(1 + sigma**2)


PRECONDITIONINGS: dict[str, type] = {
    "epsilon": Epsilon,
    "score": Score,
    "velocity": Velocity,
    "flow": Flow,
    "sample": Sample,
    "edm": EDM,
    "wiener": Wiener,
}
"""Name -> class of preconditionings."""
