"""What a coupling is, and how a target is decoded under one."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol, TypeAlias, runtime_checkable

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from ddib_jax.bridge.bridge import Bridge
from ddib_jax.diffusion import probability_flow
from ddib_jax.solvers import Solution, solve, without_failures
from ddib_jax.types import Data, Denoiser, Latent, Scalar, VectorField

Rows: TypeAlias = Float[Array, "b r ..."]
"""For each image of a batch the r states that are integrated together."""


@runtime_checkable
class Coupling(Protocol):
    """One ODE of several rows: a source's and a target's, side by side at the same noise level.

    No noise is drawn and nothing is trained or stored by step; any solver and grid serve. A pytree,
    whose strengths, masks and cutoffs are leaves: new ones never retrace.
    """

    def check(self, shape: tuple[int, ...]) -> None:
        """Raise ValueError where it cannot couple data of this shape ([h w c] of one image)."""
        ...

    def start(self, source: Latent, target: Latent) -> Rows:
        """The rows at the highest noise level, from the latents [b ...] that both would start at.

        They differ where the latent was perturbed.
        """
        ...

    def field(self, source: Any, target: Any) -> VectorField:
        """(sigma, rows) -> d rows / d sigma, from the denoisers of both domains.

        They are what the coupling looks at: any `Denoiser`, or a `DiffusionModel` where it is
        layers of the network.
        """
        ...

    @property
    def after(self) -> Callable[[Rows], Rows] | None:
        """What is done to the rows after every step, for a form that is no ODE; or None."""
        ...

    def result(self, rows: Rows) -> Data:
        """The row of the target, [b ...]."""
        ...


class SideBySide:
    """What couplings have in common whose rows are the source's and the target's own states."""

    def check(self, shape: tuple[int, ...]) -> None:
        """Any data will do: a site that a network does not have is refused where it is read."""

    def start(self, source: Latent, target: Latent) -> Rows:
        """Both latents as they are."""
        return jnp.stack([source, target], axis=1)

    @property
    def after(self) -> Callable[[Rows], Rows] | None:
        """Nothing."""
        return None

    def result(self, rows: Rows) -> Data:
        """The target's row, the last."""
        return rows[:, -1]


@struct.dataclass
class StraightPath:
    """The "denoiser" of x(sigma) = image + sigma noise: its probability flow is the noise itself.

    What a coupling takes as its source where no model of the source's domain is at hand.
    """

    noise: Data

    def denoise(self, x: Data, sigma: Scalar) -> Data:
        """x [b ...] without its noise."""
        return x - sigma * self.noise


def decode_coupled(
    coupling: Coupling,
    source: Denoiser,
    target: Bridge,
    latent: Latent,
    *,
    perturbed: Latent | None = None,
    until: Scalar | float | None = None,
) -> Solution[Array]:
    """The solution down the target's grid under a coupling; its y are the data [b ...].

    The source's row starts from `latent` [b ...], the target's from `perturbed` where it is given.
    The coupling lasts down to the last noise level of the grid that is not below `until`; from
    there the target's ODE goes on by itself, with a fresh start of its solver, so that no step
    spans the jump of the slope. None: it lasts to the end. A member's y is NaN where the solver did
    not reach its tolerance. Raises ValueError for a target with a Gaussian switch.
    """
    check_no_switch(target)
    perturbed = latent if perturbed is None else perturbed
    levels, scale = target.sigmas[::-1], target.scale
    last, held = len(levels) - 1, None
    if until is not None:
        held = jnp.maximum(jnp.sum(levels >= until) - 1, 0)
    rows = coupling.start(latent, perturbed) * scale
    field = coupling.field(source, target.model)
    together = solve(target.solver, field, rows, levels, steps=held, after=coupling.after)
    image = coupling.result(together.y)
    if held is None:
        return without_failures(target.solver, replace(together, y=image, aux=None))
    # released at once, the target starts as it would without the coupling
    image = jnp.where(held > 0, image, perturbed * scale)
    # the rest of the grid, padded with its last level: `held` is traced
    rest = levels[jnp.minimum(jnp.arange(len(levels)) + held, last)]
    alone = solve(target.solver, probability_flow(target.model), image, rest, steps=last - held)
    end = Solution(
        alone.y,
        None,
        jnp.maximum(together.residual, alone.residual),
        together.evaluations + alone.evaluations,
    )
    return without_failures(target.solver, end)


def check_no_switch(target: Bridge) -> None:
    """Raise ValueError for a bridge whose upper end is a Gaussian's, where nothing is coupled."""
    if target.switch is not None:
        raise ValueError(
            "Under a coupling both ODEs are solved from the latents' noise level on; leave the"
            " Gaussian switch out."
        )
