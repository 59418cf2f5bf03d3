"""Noise schedules, each an exact bijection between a model's time t and sigma.

A schedule says nothing about a network or a solver: in the coordinates x = x_t / alpha_t it is only
the map t -> sigma = sigma_t / alpha_t (Karras et al. 2022, table 1). A variance-preserving schedule
with cumulative product alpha_bar has sigma^2 = 1 / alpha_bar - 1.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float


@dataclass(frozen=True)
class LinearVP:
    """The continuous linear-beta VP schedule of Song et al. (2021), t in [0, 1].

    sigma^2 = exp(B(t)) - 1, where B(t) = beta_min t + (beta_max - beta_min) t^2 / 2 is the integral
    of beta.
    """

    beta_min: float = 0.1
    beta_max: float = 20.0
    t_min: float = 1e-3

    def sigma(self, t: Float[ArrayLike, "*b"]) -> Float[Array, "*b"]:
        """The noise level of time `t`."""
        t = jnp.asarray(t)
        return jnp.sqrt(jnp.expm1(t * (self.beta_min + 0.5 * (self.beta_max - self.beta_min) * t)))

    def time(self, sigma: Float[ArrayLike, "*b"]) -> Float[Array, "*b"]:
        """The time of noise level `sigma`: the positive root of B(t) = log(1 + sigma^2)."""
        log_snr = jnp.log1p(jnp.square(jnp.asarray(sigma)))
        root = jnp.sqrt(self.beta_min**2 + 2 * (self.beta_max - self.beta_min) * log_snr)
        return 2 * log_snr / (self.beta_min + root)

    @property
    def sigma_range(self) -> tuple[float, float]:
        """The lowest and the highest noise level that the model was trained on."""
        return _range_in_time(self.sigma, self.t_min, 1.0)


@dataclass(frozen=True)
class Cosine:
    """The cosine schedule of Nichol and Dhariwal (2021), t in [0, 1].

    alpha_bar = cos^2(a(t)) / cos^2(a(0)), with the angle a(t) = (t + offset) / (1 + offset) pi / 2.
    """

    offset: float = 0.008
    t_min: float = 1e-3
    t_max: float = 0.9946

    def sigma(self, t: Float[ArrayLike, "*b"]) -> Float[Array, "*b"]:
        """The noise level of time `t`: sigma^2 = sin(a - a0) sin(a + a0) / cos^2(a).

        In this form nothing cancels near t = 0, as it would in 1 / alpha_bar - 1.
        """
        first = float(self.offset / (1 + self.offset) * np.pi / 2)
        step = jnp.asarray(t) / (1 + self.offset) * (np.pi / 2)
        cosine = jnp.sin((1 - jnp.asarray(t)) / (1 + self.offset) * (np.pi / 2))
        return jnp.sqrt(jnp.sin(step) * jnp.sin(step + 2 * first)) / cosine

    def time(self, sigma: Float[ArrayLike, "*b"]) -> Float[Array, "*b"]:
        """The time of noise level `sigma`, from tan(a - a0), which keeps its digits near t = 0."""
        first = float(self.offset / (1 + self.offset) * np.pi / 2)
        sine, cosine = float(np.sin(first)), float(np.cos(first))
        square = jnp.square(jnp.asarray(sigma))
        root = jnp.sqrt(square + sine**2)  # tan(a) cos(a0)
        angle = jnp.arctan2(square / (root + sine) * cosine, cosine**2 + root * sine)
        return angle / (np.pi / 2) * (1 + self.offset)

    @property
    def sigma_range(self) -> tuple[float, float]:
        """The lowest and the highest noise level that the model was trained on."""
        return _range_in_time(self.sigma, self.t_min, self.t_max)


@dataclass(frozen=True)
class Discrete:
    """A table of cumulative products alpha_bar_t, t = 0 ... T - 1, as DDPM's (Ho et al. 2020).

    Between the table's entries log sigma is linear in t, and so it goes on beyond both ends: t <->
    sigma is a bijection of the reals to the positive reals that meets the table at every integer. A
    table of zero terminal SNR ends at 2^-24 here (sigma = 4096), as in diffusers' Euler: at
    infinite noise there are no latents.
    Raises ValueError for a table that does not fall strictly between 1 and 0.
    """

    alphas_cumprod: tuple[float, ...]

    def __post_init__(self):
        table = np.asarray(self.alphas_cumprod, np.float64)
        if table.ndim != 1 or len(table) < 2 or not (table > 0).all() or not (table < 1).all():
            raise ValueError("alphas_cumprod must be two or more numbers strictly between 0 and 1.")
        if not (np.diff(table) < 0).all():
            raise ValueError(
                "alphas_cumprod must fall from step to step; the noise would not grow."
            )

    @classmethod
    def from_betas(cls, betas: np.ndarray | Sequence[float]) -> "Discrete":
        """The schedule of per-step variances `betas` [T]: alpha_bar = cumprod(1 - beta)."""
        return cls(tuple(np.cumprod(1.0 - np.asarray(betas, np.float64)).tolist()))

    @classmethod
    def linear(cls, steps: int) -> "Discrete":
        """DDPM's linear betas, 1e-4 to 0.02 at 1000 steps, scaled as in improved-diffusion."""
        scale = 1000 / steps
        return cls.from_betas(np.linspace(scale * 1e-4, scale * 0.02, steps, dtype=np.float64))

    @classmethod
    def cosine(cls, steps: int, *, max_beta: float = 0.999) -> "Discrete":
        """The cosine betas of Nichol and Dhariwal (2021, eq. 17), each at most `max_beta`."""
        angle = (np.arange(steps + 1) / steps + 0.008) / 1.008 * np.pi / 2
        bar = np.cos(angle) ** 2
        return cls.from_betas(np.minimum(1 - bar[1:] / bar[:-1], max_beta))

    @property
    def log_sigmas(self) -> Float[np.ndarray, " T"]:
        """log sigma at t = 0 ... T - 1."""
        bar = np.asarray(self.alphas_cumprod, np.float64)
        return 0.5 * (np.log1p(-bar) - np.log(bar))

    def sigma(self, t: Float[ArrayLike, "*b"]) -> Float[Array, "*b"]:
        """The noise level of (possibly fractional) time step `t`."""
        t = jnp.asarray(t)
        levels = jnp.asarray(self.log_sigmas, t.dtype)
        below = jnp.clip(jnp.floor(t).astype(jnp.int32), 0, len(levels) - 2)
        low, high = levels[below], levels[below + 1]
        return jnp.exp(low + (t - below.astype(t.dtype)) * (high - low))

    def time(self, sigma: Float[ArrayLike, "*b"]) -> Float[Array, "*b"]:
        """The (possibly fractional) time step of noise level `sigma`."""
        level = jnp.log(jnp.asarray(sigma))
        levels = jnp.asarray(self.log_sigmas, level.dtype)
        below = jnp.clip(jnp.searchsorted(levels, level, side="right") - 1, 0, len(levels) - 2)
        low, high = levels[below], levels[below + 1]
        return below.astype(level.dtype) + (level - low) / (high - low)

    @property
    def sigma_range(self) -> tuple[float, float]:
        """The lowest and the highest noise level of the table."""
        levels = np.exp(self.log_sigmas)
        return float(levels[0]), float(levels[-1])


@dataclass(frozen=True)
class RectifiedFlow:
    """The straight paths x_t = (1 - t) data + t noise of flow matching, t in (0, 1).

    Liu et al. (2023). alpha_t = 1 - t, so that sigma = t / (1 - t). time_scale: what the network
    calls t = 1, such as 1000. At t = 1 there is no data left and sigma is infinite: the range ends
    at t_max.
    """

    time_scale: float = 1.0
    t_min: float = 1e-3
    t_max: float = 0.999

    def sigma(self, t: Float[ArrayLike, "*b"]) -> Float[Array, "*b"]:
        """The noise level of time `t`, from 0 to below `time_scale`."""
        t = jnp.asarray(t) / self.time_scale
        return t / (1 - t)

    def time(self, sigma: Float[ArrayLike, "*b"]) -> Float[Array, "*b"]:
        """The time of noise level `sigma`."""
        sigma = jnp.asarray(sigma)
        return self.time_scale * (sigma / (1 + sigma))

    @property
    def sigma_range(self) -> tuple[float, float]:
        """The lowest and the highest noise level that the model was trained on."""
        return self.t_min / (1 - self.t_min), self.t_max / (1 - self.t_max)


@dataclass(frozen=True)
class EDM:
    """The schedule of Karras et al. (2022): time is c_noise = log(sigma) / 4."""

    sigma_min: float = 0.002
    sigma_max: float = 80.0

    def sigma(self, t: Float[ArrayLike, "*b"]) -> Float[Array, "*b"]:
        """The noise level of time `t`."""
        return jnp.exp(4 * jnp.asarray(t))

    def time(self, sigma: Float[ArrayLike, "*b"]) -> Float[Array, "*b"]:
        """The time of noise level `sigma`."""
        return jnp.log(jnp.asarray(sigma)) / 4

    @property
    def sigma_range(self) -> tuple[float, float]:
        """The lowest and the highest noise level of the ODE."""
        return self.sigma_min, self.sigma_max


@dataclass(frozen=True)
class VE(EDM):
    """The variance-exploding schedule of Karras et al. (2022, table 1): time is log(sigma / 2)."""

    sigma_min: float = 0.02
    sigma_max: float = 100.0

    def sigma(self, t: Float[ArrayLike, "*b"]) -> Float[Array, "*b"]:
        """The noise level of time `t`."""
        return 2 * jnp.exp(jnp.asarray(t))

    def time(self, sigma: Float[ArrayLike, "*b"]) -> Float[Array, "*b"]:
        """The time of noise level `sigma`."""
        return jnp.log(jnp.asarray(sigma) / 2)


# Of the function and not of the schedule: to check that something is a schedule asks for its range.
def _range_in_time(sigma: Callable, t_min: float, t_max: float) -> tuple[float, float]:
    low, high = np.asarray(sigma(jnp.asarray([t_min, t_max], jnp.float32)))
    return float(low), float(high)


SCHEDULES: dict[str, type] = {
    "linear-vp": LinearVP,
    "cosine": Cosine,
    "discrete": Discrete,
    "edm": EDM,
    "ve": VE,
    "flow": RectifiedFlow,
}
"""Name -> class of schedules."""
