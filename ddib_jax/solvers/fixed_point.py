"""Fixed points x = g(x) by Anderson acceleration, and by Newton's method where that fails to
contract.
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int


@struct.dataclass
class FixedPointResult:
    """A fixed point [b ...], its residual |g(x) - x| / (1 + |x|) of every member [b] (root mean
    squares), and the evaluations of g.
    """

    x: Array
    residual: Float[Array, " b"]
    evaluations: Int[Array, ""]


@dataclass(frozen=True)
class FixedPoint:
    """How a fixed point is sought: Anderson acceleration (Walker and Ni 2011), then Newton-GMRES
    where it stalls.

    tolerance: the residual to reach, in units of the last place of the numbers (eps of their type).
    memory: how many differences Anderson's method combines. passes: its evaluations of g at most.
    newton: steps of Newton's method at most, each of `krylov` products with the Jacobian, which
    count as evaluations; none are taken once the tolerance is reached.
    """

    tolerance: float = 20.0
    memory: int = 3
    passes: int = 30
    newton: int = 3
    krylov: int = 8

    def __call__(self, g: Callable[[Array], Array], start: Array) -> FixedPointResult:
        """A fixed point of g: [b ...] -> [b ...], which treats the members of the batch apart."""
        wanted = self.wanted(start.dtype)
        found = self._anderson(g, start, wanted)
        if self.newton == 0:
            return found
        missed = lambda found: ~(jnp.max(found.residual) <= wanted)  # also where it is not finite
        safe = found.replace(x=jnp.where(jnp.isfinite(found.x), found.x, start))
        return jax.lax.cond(missed(found), lambda: self._newton(g, safe, wanted), lambda: found)

    def wanted(self, dtype: jnp.dtype) -> float:
        """The residual that counts as reached for numbers of this type."""
        return self.tolerance * float(jnp.finfo(dtype).eps)

    def _anderson(self, g, start, wanted) -> FixedPointResult:
        flat = lambda a: a.reshape(len(a), -1)
        first = g(start)
        gap = first - start
        blank = jnp.zeros((self.memory, *flat(start).shape), start.dtype)

        def unfinished(state):
            _x, gap, _images, _gaps, best, count = state
            return (
                (count < self.passes)
                & ~(jnp.max(best.residual) <= wanted)
                & jnp.all(jnp.isfinite(gap))
            )

        def again(state):
            x, gap, images, gaps, best, count = state
            value = x + gap
            new = _mixed(flat(value), flat(gap), images, gaps).reshape(x.shape)
            new_gap = g(new) - new
            slot = (count - 1) % self.memory
            images = images.at[slot].set(flat(new + new_gap - value))
            gaps = gaps.at[slot].set(flat(new_gap - gap))
            now = FixedPointResult(new, _residual(new, new_gap), count + 1)
            return new, new_gap, images, gaps, _better(now, best), count + 1

        best = FixedPointResult(start, _residual(start, gap), jnp.asarray(1))
        state = jax.lax.while_loop(
            unfinished, again, (start, gap, blank, blank, best, jnp.asarray(1))
        )
        return state[4].replace(evaluations=state[5])

    def _newton(self, g, found, wanted) -> FixedPointResult:
        def unfinished(state):
            count, found = state
            return (count < self.newton) & ~(jnp.max(found.residual) <= wanted)

        def again(state):
            count, found = state
            value, jacobian = jax.linearize(g, found.x)
            step, _ = jax.scipy.sparse.linalg.gmres(
                lambda v: v - jacobian(v),
                value - found.x,
                restart=self.krylov,
                maxiter=1,
                solve_method="batched",
            )
            x = found.x + step
            now = FixedPointResult(x, _residual(x, g(x) - x), found.evaluations + self.krylov + 2)
            return count + 1, _better(now, found)

        return jax.lax.while_loop(unfinished, again, (0, found))[1]


def _mixed(value, gap, images, gaps):
    """Anderson's next point of every member: the value less the combination of differences that
    best explains the gap.
    """

    def one(value, gap, images, gaps):
        gram = gaps @ gaps.T
        ridge = 10 * jnp.finfo(gap.dtype).eps * jnp.trace(gram) + jnp.finfo(gap.dtype).tiny
        weights = jnp.linalg.solve(gram + ridge * jnp.eye(len(gram), dtype=gap.dtype), gaps @ gap)
        return value - weights @ images

    return jax.vmap(one, in_axes=(0, 0, 1, 1))(value, gap, images, gaps)


def _residual(x, gap):
    size = lambda a: jnp.sqrt(jnp.mean(jnp.square(a), axis=tuple(range(1, a.ndim))))
    return size(gap) / (1 + size(x))


def _better(new, old):
    wins = new.residual < old.residual
    column = wins.reshape(-1, *[1] * (new.x.ndim - 1))
    return FixedPointResult(
        jnp.where(column, new.x, old.x),
        jnp.where(wins, new.residual, old.residual),
        new.evaluations,
    )
