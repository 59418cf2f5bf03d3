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
from ddib_jax.perturbations import PERTURBATIONS, at, needs, place_of, steps_of
from ddib_jax.schedules import make_grid
from ddib_jax.solvers import HEUN, Carry, cross, is_implicit, odeint, odeint_effort
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

    def encode(self, image: Image, *, carry: Carry | None = None, return_carry: bool = False) -> Latent | tuple[Latent, Carry]:
        """Image [b h w c] in [-1, 1] -> its latent [b h w c], x(sigma_max) / sqrt(1 + sigma_max^2).

        With a reversible solver, `return_carry` also returns what `decode` needs to give the image back exactly; a `carry`
        is one that decoding returned. Raises ValueError for another solver's, or another grid's.
        """
        x, carry = self._cross(image, True, carry, return_carry)
        latent = x / jnp.sqrt(1 + self.sigmas[-1] ** 2)
        return (latent, carry) if return_carry else latent

    def decode(self, latent: Latent, *, carry: Carry | None = None, return_carry: bool = False) -> Image | tuple[Image, Carry]:
        """Latent [b h w c] of unit variance -> the image [b h w c] it is the latent of; carries as `encode`."""
        x = latent * jnp.sqrt(1 + self.sigmas[-1] ** 2)
        image, carry = self._cross(x, False, carry, return_carry)
        return (image, carry) if return_carry else image

    def _cross(self, x: Array, rising: bool, carry: Carry | None, return_carry: bool) -> tuple[Array, Carry | None]:
        f = probability_flow(self.model)
        if carry is None and not return_carry:
            return odeint(self.solver, f, x, self.sigmas if rising else self.sigmas[::-1]), None
        return cross(self.solver, f, x, self.sigmas, rising=rising, carry=carry)

    def sample(self, latent: Latent) -> Image:
        """As `decode`, with the noise of the grid's lowest level removed by one denoising, for latents drawn at random.

        What is decoded from Gaussian noise still holds noise of deviation sigmas[0] (Song et al. 2021, appendix G).
        """
        return self.model.denoise(self.decode(latent), self.sigmas[0])

    def up_to(self, sigma: Scalar) -> "Bridge":
        """The bridge whose latents lie at the noise level `sigma`: as many steps, their grid squeezed evenly in log sigma."""
        logs = jnp.log(self.sigmas)
        share = (jnp.log(sigma) - logs[0]) / (logs[-1] - logs[0])
        return self.replace(sigmas=jnp.exp(logs[0] + share * (logs - logs[0])))


@struct.dataclass
class DDIB:
    """Dual Diffusion Implicit Bridge (Su et al. 2023, algorithm 1): source.encode, perturb, target.decode.

    `perturb` is one of `perturbations.PERTURBATIONS`, a sequence of them, or any function (latent, coefficient, context) ->
    latent; the coefficient is a leaf, so that another one never retraces.
    """

    source: Bridge
    target: Bridge
    coefficient: Any = 0.0
    perturb: Perturbation = struct.field(pytree_node=False, default=PERTURBATIONS["none"])

    def __call__(self, key: PRNGKey, image: Image) -> Image:
        """Images [b h w c] of the source domain in [-1, 1] -> images of the target domain.

        `key` only feeds perturbations that want fixed noise; the translation itself is deterministic.
        """
        return self.given(image, jax.random.normal(key, image.shape, image.dtype), neighbour(image))

    def given(self, image: Image, noise: Latent, other: Image) -> Image:
        """As the call, with the perturbation's fixed noise and the `other` images, whose latents it may look at, given."""
        return self.decode(self.encode(image, noise, other))

    def encode(self, image: Image, noise: Latent, other: Image) -> Context:
        """What the perturbation is given besides its coefficient: the images, the noise, and their latents."""
        source, coefficient = self.legs()[0], self._scalar(image)
        latent = source.encode(at(self.perturb, "image", image, coefficient, {"image": image, "noise": noise}))
        context = {"image": image, "noise": noise, "latent": latent}
        return {**context, "other": source.encode(other)} if "other" in needs(self.perturb) else context

    def decode(self, context: Context) -> Image:
        """The translation of what was encoded, its latent perturbed."""
        latent = at(self.perturb, "latent", context["latent"], self._scalar(context["latent"]), context)
        return self.legs()[1].decode(latent)

    def legs(self) -> tuple[Bridge, Bridge]:
        """The two bridges up to the noise level at which they meet: all the way, unless the perturbation lowers it."""
        if all(place_of(step) != "level" for step in steps_of(self.perturb)):
            return self.source, self.target
        return tuple(
            leg.up_to(at(self.perturb, "level", leg.sigmas[-1], self._scalar(leg.sigmas), {})) for leg in (self.source, self.target)
        )

    def _scalar(self, like: Array) -> Scalar:
        return jnp.asarray(self.coefficient, like.dtype)


def encode(bridge: Bridge, images: Images, *, batch_size: int = 64, progress: Callable = iter) -> Images:
    """The latents of any number of images [n h w c], in batches on all local devices; host arrays.

    Raises ValueError where the images are not of the model's shape or not finite, FloatingPointError where a latent is not
    finite or an implicit solver did not reach its tolerance.
    """
    check_shape(bridge, images, "images")
    if not np.isfinite(images).all():
        raise ValueError("The images hold values that are not finite; they must lie in [-1, 1].")
    if is_implicit(bridge.solver):
        latents, residuals = parallel.map_batches(_encode_effort, bridge, images, batch_size=batch_size, progress=progress)
        check_converged(bridge, residuals)
    else:
        latents = parallel.map_batches(Bridge.encode, bridge, images, batch_size=batch_size, progress=progress)
    return check_finite(latents, "latents")


def _encode_effort(bridge, image):
    x, residual, _ = odeint_effort(bridge.solver, probability_flow(bridge.model), image, bridge.sigmas)
    return x / jnp.sqrt(1 + bridge.sigmas[-1] ** 2), residual


def check_converged(bridge: Bridge, residuals: np.ndarray) -> None:
    """Raise FloatingPointError where a relative residual [n] of the bridge's implicit solver is above what it wants."""
    wanted = bridge.solver.solve.wanted(residuals.dtype)
    missed = int((~(residuals <= wanted)).sum())
    if missed:
        raise FloatingPointError(
            f"{type(bridge.solver).__name__} did not converge on {missed} of {len(residuals)} images: the worst relative residual is "
            f"{residuals.max():.2g} where {wanted:.2g} is wanted; take more steps or a reversible solver."
        )


def decode(bridge: Bridge, latents: Images, *, batch_size: int = 64, progress: Callable = iter) -> Images:
    """The images of any number of latents [n h w c], in batches on all local devices; raises as `encode` does."""
    check_shape(bridge, latents, "latents")
    images = parallel.map_batches(Bridge.decode, bridge, latents, batch_size=batch_size, progress=progress)
    return check_finite(images, "images")


def sample(bridge: Bridge, latents: Images, *, batch_size: int = 64, progress: Callable = iter) -> Images:
    """The samples [n h w c] that Gaussian latents become, in batches on all local devices; raises as `encode` does."""
    check_shape(bridge, latents, "latents")
    images = parallel.map_batches(Bridge.sample, bridge, latents, batch_size=batch_size, progress=progress)
    return check_finite(images, "images")


def translate(
    ddib: DDIB, images: Images, *, key: PRNGKey | None = None, batch_size: int = 64, progress: Callable = iter
) -> Images:
    """Any number of source images [n h w c] in [-1, 1] translated, in batches on all local devices; host arrays.

    Image i has its noise from `key` (default 0) and i, so that the batching does not matter.
    Raises ValueError where source, target and images are not of one shape, FloatingPointError for a result that is not
    finite.
    """
    check_meeting(ddib.source.model, ddib.target.model)
    check_shape(ddib.source, images, "images")
    key = jax.random.key(0) if key is None else key
    arrays = (np.arange(len(images)), images, neighbour(images))
    results = parallel.map_batches(_translate, (ddib, key), *arrays, batch_size=batch_size, progress=progress)
    return check_finite(results, "translations")


def check_meeting(source: DiffusionModel, target: DiffusionModel) -> None:
    """Raise ValueError where the latents of `source` are not of the shape that `target` decodes."""
    if source.data_shape != target.data_shape:
        raise ValueError(
            f"The two models cannot meet: the source makes latents of {_words(source.data_shape)}, the target "
            f"decodes {_words(target.data_shape)}; train both at one size and number of channels."
        )


def _translate(tree, place, image, other):
    ddib, key = tree
    return ddib.given(image, fixed_noise(key, place, image), other)


def fixed_noise(key: PRNGKey, place: Array, like: Array) -> Array:
    """Gaussian noise of every image's own: it depends on the key and the image's place alone, not on the batching."""
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, place)
    return jax.vmap(lambda k: jax.random.normal(k, like.shape[1:], like.dtype))(keys)


def neighbour(images: Any) -> Any:
    """For every image the one before it, for the first the last."""
    return (jnp if isinstance(images, jax.Array) else np).roll(images, 1, axis=0)


def check_shape(bridge: Bridge, arrays: Images, kind: str) -> None:
    """Raise ValueError where the arrays are none, or not of the shape of the bridge's model."""
    expected = bridge.model.data_shape
    if len(arrays) == 0 or np.shape(arrays)[1:] != expected:
        found = "none were given" if len(arrays) == 0 else f"these are of {_words(np.shape(arrays)[1:])}"
        raise ValueError(f"The model takes {kind} of {_words(expected)}; {found}.")


def _words(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def check_finite(arrays: np.ndarray, kind: str) -> np.ndarray:
    """The arrays [n ...]; raises FloatingPointError where one is not finite."""
    broken = int((~np.isfinite(arrays).reshape(len(arrays), -1).all(axis=1)).sum())
    if broken:
        raise FloatingPointError(
            f"{broken} of {len(arrays)} {kind} are not finite; take more steps or another solver, or check the model."
        )
    return arrays
