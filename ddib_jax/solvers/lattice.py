"""The reversible Heun method on a lattice of integers: every step is undone to the bit.

Undoing a step algebraically is exact in real numbers; in floating point a sum is rounded, and what
is rounded depends on the direction. Sums of integers are exact. Levesque and Verlet (1993) and Stam
(2022) made simulations of physics reversible so; here it is Kidger et al.'s (2021) pair of states.
"""

from dataclasses import dataclass, replace
from typing import Any, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ddib_jax.solvers.exponential import data_prediction
from ddib_jax.types import AnyArray, Ending, Scalar, VectorField

Pair = Int[Array, "b 2 ..."]
"""Of every member twice the state y and the auxiliary state z, as multiples of the spacing."""

_BITS = 20
_MOST_BITS = 28


@dataclass(frozen=True)
class LatticeHeun:
    """The reversible Heun method with all its states on a lattice of spacing 2^-bits.

    With Y = 2y and z integers, q = round(h f(t0, z0)) and q' = round(h f(t1, z1)) in units of the
    spacing, a step is z1 = Y0 - z0 + q, Y1 = Y0 + q + q'. All sums are of integers, so that
    z0 = Y1 - z1 - q', Y0 = Y1 - q - q' gives the very same integers back, in any number of steps,
    wherever f gives the same bits to the same input. For that f is evaluated in one place of the
    compiled program, in a loop that XLA cannot unroll, whatever the step and the direction. Whoever
    promises equal bits must run both directions through one program besides, as
    `translation.encode` and `decode` do.

    It is of order 2, its own inverse, and takes one evaluation a step. The auxiliary state is the
    whole pair [b 2 ...], int32 (for states of float64 int64, with 32 bits more); with it the state
    beside it is not looked at. States up to `limit` are held. What leaves that range is lost, never
    wrapped: its integer is the lowest one, its state NaN.

    bits: None leaves them to the bridge, which takes as many as its noise levels allow; 20 where
    nothing else is said. exponential: as in `Exponential`, for y / t as a function of 1 / t,
    where the lattice is finer at small t; on some grids the error then grows more than without it.
    """

    bits: int | None = None
    exponential: bool = False
    order: int = 2
    tolerance: None = None

    def __post_init__(self):
        if self.bits is not None and not 0 <= self.bits <= _MOST_BITS:
            raise ValueError(
                f"Found a lattice of {self.bits} bits: expected 0 to {_MOST_BITS}; its spacing is"
                " 2^-bits, and it holds states up to 2^(29 - bits)."
            )

    @property
    def inverse(self) -> "LatticeHeun":
        """The method that undoes this one, along the grid reversed."""
        return self

    @property
    def limit(self) -> float:
        """The largest state that is held, of y or, in the exponential form, of y / t."""
        return 2.0 ** (29 - self._bits)

    def evaluations(self, steps: int) -> int:
        """One a step, and the slope at the start."""
        return steps + 1

    def holding(self, largest: float) -> "LatticeHeun":
        """This solver on the finest lattice that holds states up to `largest`, where bits are open.

        Raises ValueError where none does.
        """
        if self.bits is not None:
            return self
        bits = _MOST_BITS
        while bits >= 0 and 2.0 ** (29 - bits) < largest:
            bits -= 1
        if bits < 0:
            raise ValueError(
                f"No lattice of 32 bits holds states up to {largest:.3g}; take a narrower range of"
                " noise levels, or another solver."
            )
        return replace(self, bits=bits)

    def pair(self, y: Float[Array, "b ..."], t: Scalar) -> Pair:
        """The pair that a run from y(t) begins with: both states are the lattice's nearest to y."""
        z = self._integers(y / t if self.exponential else y)
        return jnp.stack([self._held(2 * z, 2, z), z], axis=1)

    def state(self, pair: Pair, t: Scalar) -> Float[Array, "b ..."]:
        """The state y(t) [b ...] of a pair; NaN where it was lost."""
        is_long = jnp.iinfo(pair.dtype).bits == 64
        y = self._floats(pair[:, 0], jnp.float64 if is_long else jnp.float32) / 2
        return t * y if self.exponential else y

    def is_start(self, pair: Int[AnyArray, "b 2 ..."]) -> Bool[AnyArray, " b"]:
        """Whether each pair is one that a run begins with: both of its states are equal.

        A run that was undone ends at such a pair. One lost bit on the way, and the second state is
        another in almost every value.
        """
        twice, z = pair[:, 0], pair[:, 1]
        equal = (twice == 2 * z) & (z != _lost(z.dtype))
        return cast(AnyArray, equal.reshape(len(equal), -1).all(axis=1))

    def init(self, f: VectorField, t0: Scalar, y0: Array, aux: Pair | None) -> tuple:
        """The pair, and a slope that the first step finds."""
        pair = self.pair(y0, t0) if aux is None else aux
        return pair[:, 0], pair[:, 1], jnp.zeros_like(y0), jnp.asarray(0)

    def finish(self, state: tuple, t: Scalar) -> Ending:
        """The pair."""
        return Ending(jnp.stack(state[:2], axis=1))

    def step(
        self, f: VectorField, t0: Scalar, t1: Scalar, y0: Array, state: tuple
    ) -> tuple[Array, tuple]:
        """From the pair at t0 to that at t1; y0 is what the pair says, and is not looked at."""
        twice, z, slope, first = state
        time = t1
        if self.exponential:
            f, t0, t1 = data_prediction(f), 1 / t0, 1 / t1
        h = t1 - t0

        def evaluate(point, carried):
            z, _, slope = carried
            q = self._integers(h * slope)
            z = jnp.where(point == 0, z, self._held(twice - z + q, 1, twice, z, q))
            t = jnp.where(point == 0, t0, t1)
            return z, slope, f(t, self._floats(z, slope.dtype))

        # The first step needs the slopes at both of its ends, every other one that at its end. A
        # first slope from `init` would be computed elsewhere in the program than all others, and
        # might differ from them in its last bit.
        z, before, slope = jax.lax.fori_loop(first, 2, evaluate, (z, slope, slope))
        q, q_end = self._integers(h * before), self._integers(h * slope)
        twice = self._held(twice + q + q_end, 2, twice, q, q_end)
        y1 = self._floats(twice, y0.dtype) / 2
        y1 = time * y1 if self.exponential else y1
        return y1, (twice, z, slope, jnp.ones_like(first))

    @property
    def _bits(self) -> int:
        return _BITS if self.bits is None else self.bits

    def _scale(self, dtype: Any) -> float:
        """Integers in one."""
        return 2.0 ** (self._bits + (32 if jnp.finfo(dtype).bits == 64 else 0))

    def _integers(self, x: Array) -> Array:
        """The nearest integers to x, in units of the spacing."""
        integer = jnp.int64 if jnp.finfo(x.dtype).bits == 64 else jnp.int32
        nearest = jnp.rint(x * self._scale(x.dtype))
        held = jnp.abs(nearest) < _largest(integer)  # not of NaN
        return jnp.where(held, jnp.where(held, nearest, 0).astype(integer), _lost(integer))

    def _floats(self, n: Array, dtype: Any) -> Array:
        """x of integers, NaN of those that were lost."""
        return jnp.where(n == _lost(n.dtype), jnp.nan, n.astype(dtype) / self._scale(dtype))

    def _held(self, total: Array, units: int, *terms: Array) -> Array:
        """The sum of terms, or that it was lost: with a term, or beyond `units` limits.

        Sums are of terms that are within theirs, of four limits together: none of them wraps.
        """
        lost = jnp.abs(total) >= units * _largest(total.dtype)
        for term in terms:
            lost |= term == _lost(term.dtype)
        return jnp.where(lost, _lost(total.dtype), total)


def _largest(dtype: Any) -> int:
    return 2 ** (jnp.iinfo(dtype).bits - 3)


def _lost(dtype: Any) -> int:
    return jnp.iinfo(dtype).min
