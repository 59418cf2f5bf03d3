"""A bridge is half of a DDIB: one model, one grid, one solver; image <-> latent of unit variance."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float

from ddib_jax import parallel
from ddib_jax.diffusion import DiffusionModel, probability_flow
from ddib_jax.schedules import make_grid
from ddib_jax.solvers import HEUN, odeint
from ddib_jax.types import Context, Image, Images, Latent, Perturbation, PRNGKey, Scalar, Solver


@struct.dataclass
class Bridge:
    """The two-way road between images and latents of one domain (Su et al. 2023, section 3).

    sigmas [n]: ascending noise levels, all positive. Encoding integrates the probability-flow ODE upward along
    them, decoding downward along the same ones, with the same solver.
    """

    model: DiffusionModel
    sigmas: Float[Array, "n"]
    solver: Solver = struct.field(pytree_node=False, default=HEUN)

    @classmethod
    def over(cls, model: DiffusionModel, *, steps: int = 40, grid: str = "karras", solver: Solver = HEUN) -> "Bridge":
        """A bridge over the schedule's whole range of noise levels in `steps` steps of a named grid."""
        return cls(model, make_grid(grid, model.schedule, steps), solver)

    def encode(self, image: Image) -> Latent:
        """Image [b h w c] in [-1, 1] -> its latent [b h w c], x(sigma_max) / sqrt(1 + sigma_max^2)."""
        x = odeint(self.solver, probability_flow(self.model), image, self.sigmas)
        return x / jnp.sqrt(1 + self.sigmas[-1] ** 2)

    def decode(self, latent: Latent) -> Image:
        """Latent [b h w c] of unit variance -> the image [b h w c] it is the latent of."""
        x = latent * jnp.sqrt(1 + self.sigmas[-1] ** 2)
        return odeint(self.solver, probability_flow(self.model), x, self.sigmas[::-1])


def unperturbed(latent: Latent, coefficient: Scalar, context: Context) -> Latent:
    """The latent as it is."""
    return latent


@struct.dataclass
class DDIB:
    """Dual Diffusion Implicit Bridge (Su et al. 2023, algorithm 1): source.encode, perturb, target.decode."""

    source: Bridge
    target: Bridge
    coefficient: Any = 0.0
    perturb: Perturbation = struct.field(pytree_node=False, default=unperturbed)

    def __call__(self, key: PRNGKey, image: Image) -> Image:
        """Images [b h w c] of the source domain in [-1, 1] -> images of the target domain.

        `key` only feeds perturbations that want fixed noise; the translation itself is deterministic.
        """
        return self.given_noise(image, jax.random.normal(key, image.shape, image.dtype))

    def given_noise(self, image: Image, noise: Latent) -> Image:
        """As the call, with the perturbation's fixed noise [b h w c] given."""
        latent = self.source.encode(image)
        coefficient = jnp.asarray(self.coefficient, latent.dtype)
        return self.target.decode(self.perturb(latent, coefficient, {"image": image, "noise": noise}))


def encode(bridge: Bridge, images: Images, *, batch_size: int = 64, progress: Callable = iter) -> Images:
    """The latents of any number of images [n h w c], in batches on all local devices; host arrays.

    Raises ValueError where the images are not of the model's shape, FloatingPointError where a latent is not finite.
    """
    _check_shape(bridge, images, "images")
    latents = parallel.map_batches(Bridge.encode, bridge, images, batch_size=batch_size, progress=progress)
    return _finite(latents, "latents")


def decode(bridge: Bridge, latents: Images, *, batch_size: int = 64, progress: Callable = iter) -> Images:
    """The images of any number of latents [n h w c], in batches on all local devices; raises as `encode` does."""
    _check_shape(bridge, latents, "latents")
    images = parallel.map_batches(Bridge.decode, bridge, latents, batch_size=batch_size, progress=progress)
    return _finite(images, "images")


def translate(
    ddib: DDIB, images: Images, *, key: PRNGKey | None = None, batch_size: int = 64, progress: Callable = iter
) -> Images:
    """Any number of source images [n h w c] in [-1, 1] translated, in batches on all local devices; host arrays.

    Image i has its noise from `key` (default 0) and i, so that the batching does not matter.
    Raises ValueError where source, target and images are not of one shape, FloatingPointError for a result that is not
    finite.
    """
    check_meeting(ddib.source.model, ddib.target.model)
    _check_shape(ddib.source, images, "images")
    key = jax.random.key(0) if key is None else key
    places = np.arange(len(images))
    results = parallel.map_batches(_translate, (ddib, key), places, images, batch_size=batch_size, progress=progress)
    return _finite(results, "translations")


def check_meeting(source: DiffusionModel, target: DiffusionModel) -> None:
    """Raise ValueError where the latents of `source` are not of the shape that `target` decodes."""
    if source.data_shape != target.data_shape:
        raise ValueError(
            f"The two models cannot meet: the source makes latents of {_words(source.data_shape)}, the target "
            f"decodes {_words(target.data_shape)}; train both at one size and number of channels."
        )


def _translate(tree, place, image):
    ddib, key = tree
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, place)
    return ddib.given_noise(image, jax.vmap(lambda k: jax.random.normal(k, image.shape[1:], image.dtype))(keys))


def _check_shape(bridge: Bridge, arrays: Images, kind: str) -> None:
    expected = bridge.model.data_shape
    if len(arrays) == 0 or np.shape(arrays)[1:] != expected:
        found = "none were given" if len(arrays) == 0 else f"these are of {_words(np.shape(arrays)[1:])}"
        raise ValueError(f"The model takes {kind} of {_words(expected)}; {found}.")


def _words(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _finite(arrays: np.ndarray, kind: str) -> np.ndarray:
    broken = int((~np.isfinite(arrays).reshape(len(arrays), -1).all(axis=1)).sum())
    if broken:
        raise FloatingPointError(
            f"{broken} of {len(arrays)} {kind} are not finite; take more steps or another solver, or check the model."
        )
    return arrays
