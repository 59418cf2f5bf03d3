"""Fixed points x = g(x), by Anderson acceleration and by Newton's method where that stalls."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int


@struct.dataclass
class FixedPointResult:
    """A fixed point x [b ...], how well it was found, and at what cost.

    residual [b]: |g(x) - x| / (1 + |x|) of every member, in root mean squares. evaluations []:
    those of g.
    """

    x: Array
    residual: Float[Array, " b"]
    evaluations: Int[Array, ""]


@dataclass(frozen=True)
class FixedPoint:
    """Anderson acceleration (Walker and Ni 2011), then Newton-GMRES where it stalls.

    tolerance: the residual to reach, in units of the last place of the numbers (eps of their type).
    slack: how many times that a residual may be where no iteration lowers it further, and still
    count as converged: on processors without fused multiply-add the rounding of g alone was seen to
    leave 2.5 times the tolerance.
    memory: how many differences Anderson's method combines. passes: its evaluations of g at most.
    newton: steps of Newton's method at most, each of `krylov` products with the Jacobian, which
    count as evaluations; none are taken once the tolerance is reached.
    """

    tolerance: float = 20.0
    slack: float = 5.0
    memory: int = 3
    passes: int = 30
    newton: int = 3
    krylov: int = 8

    def __call__(self, g: Callable[[Array], Array], start: Array) -> FixedPointResult:
        """A fixed point of g: [b ...] -> [b ...], which treats the members of the batch apart.

        The result is the best that was met, whether or not it reached the tolerance.
        """
        threshold = self.tolerance * float(jnp.finfo(start.dtype).eps)
        result = self._anderson(g, start, threshold)
        if self.newton == 0:
            return result
        # Newton's method starts at the best point so far, and afresh where that is not finite
        finite = replace(result, x=jnp.where(jnp.isfinite(result.x), result.x, start))
        return jax.lax.cond(
            _missed(result, threshold),
            lambda: self._newton(g, finite, threshold),
            lambda: result,
        )

    @property
    def accepted(self) -> float:
        """The largest residual that counts as converged, in units of the last place."""
        return self.slack * self.tolerance

    def _anderson(self, g, start, threshold) -> FixedPointResult:
        flat = lambda a: a.reshape(len(a), -1)
        gap = g(start) - start
        empty = jnp.zeros((self.memory, *flat(start).shape), start.dtype)

        def unfinished(state):
            x, gap, _image_steps, _gap_steps, best, count = state
            # A member that has left the numbers does not come back; it must not end the others'.
            going_on = ~(best.residual <= threshold) & jnp.isfinite(_residual(x, gap))
            return (count < self.passes) & jnp.any(going_on)

        def iterate(state):
            x, gap, gx_steps, gap_steps, best, count = state
            gx = x + gap  # g(x), without another evaluation
            new_x = _mixed(flat(gx), flat(gap), gx_steps, gap_steps).reshape(x.shape)
            new_gap = g(new_x) - new_x
            # A ring buffer of the last `memory` differences of g(x) and of g(x) - x. `count`
            # evaluations have made count - 1 differences: this is number count - 1, counted from 0.
            # Slots that are not yet written are zero, and get no weight in `_mixed`.
            slot = (count - 1) % self.memory
            gx_steps = gx_steps.at[slot].set(flat(new_x + new_gap - gx))
            gap_steps = gap_steps.at[slot].set(flat(new_gap - gap))
            candidate = FixedPointResult(new_x, _residual(new_x, new_gap), count + 1)
            return new_x, new_gap, gx_steps, gap_steps, _better(candidate, best), count + 1

        count = jnp.asarray(1)
        best = FixedPointResult(start, _residual(start, gap), count)
        *_, best, count = jax.lax.while_loop(
            unfinished, iterate, (start, gap, empty, empty, best, count)
        )
        return replace(best, evaluations=count)

    def _newton(self, g, start, threshold) -> FixedPointResult:
        def unfinished(state):
            count, best = state
            return (count < self.newton) & _missed(best, threshold)

        def iterate(state):
            count, best = state
            gx, jacobian = jax.linearize(g, best.x)
            x = best.x + _gmres(lambda v: v - jacobian(v), gx - best.x, self.krylov)
            # one evaluation to linearise, `krylov` products, one for the residual
            evaluations = best.evaluations + self.krylov + 2
            candidate = FixedPointResult(x, _residual(x, g(x) - x), evaluations)
            return count + 1, _better(candidate, best)

        return jax.lax.while_loop(unfinished, iterate, (0, start))[1]


def _missed(result, threshold):
    """Whether a member's residual is above the threshold, or is not a number."""
    return ~(jnp.max(result.residual) <= threshold)


def _mixed(gx, gap, gx_steps, gap_steps):
    """Anderson's next point of every member.

    gx = g(x) less the combination of past differences that best explains the gap, by least squares
    with a ridge: differences that are nearly parallel, or not there yet, must not make it singular.
    """

    def one(gx, gap, gx_steps, gap_steps):
        gram = gap_steps @ gap_steps.T
        ridge = 10 * jnp.finfo(gap.dtype).eps * jnp.trace(gram) + jnp.finfo(gap.dtype).tiny
        regular = gram + ridge * jnp.eye(len(gram), dtype=gap.dtype)
        weights = jnp.linalg.solve(regular, gap_steps @ gap)
        return gx - weights @ gx_steps

    return jax.vmap(one, in_axes=(0, 0, 1, 1))(gx, gap, gx_steps, gap_steps)


def _gmres(product, rhs, size):
    """An approximate solution of product(v) = rhs [b ...], of each member by itself.

    The best in the Krylov space of `size` products (Saad and Schultz 1986), by Arnoldi's iteration
    with classical Gram-Schmidt, done twice. JAX's own takes a batch for one vector: a member with a
    large residual, or none that is finite, would decide for all.
    """
    flat = rhs.reshape(len(rhs), -1)
    norm = jnp.linalg.norm(flat, axis=1)
    unit = lambda v, length: v / jnp.where(length > 0, length, 1)[:, None]
    basis = jnp.zeros((size + 1, *flat.shape), flat.dtype).at[0].set(unit(flat, norm))
    hessenberg = jnp.zeros((len(flat), size + 1, size), flat.dtype)

    def iterate(index, state):
        basis, hessenberg = state
        w = product(basis[index].reshape(rhs.shape)).reshape(flat.shape)
        column = jnp.zeros((len(flat), size + 1), flat.dtype)
        for _ in range(2):  # directions that are not there yet are zero, and take nothing away
            part = jnp.einsum("kbd,bd->bk", basis, w, precision="highest")
            w = w - jnp.einsum("bk,kbd->bd", part, basis, precision="highest")
            column = column + part
        length = jnp.linalg.norm(w, axis=1)
        column = column.at[:, index + 1].set(length)
        return basis.at[index + 1].set(unit(w, length)), hessenberg.at[:, :, index].set(column)

    basis, hessenberg = jax.lax.fori_loop(0, size, iterate, (basis, hessenberg))
    target = jnp.zeros((len(flat), size + 1), flat.dtype).at[:, 0].set(norm)
    # Of the least norm: where the space was exhausted early, the rest of the matrix is zero.
    weights = jax.vmap(lambda h, t: jnp.linalg.lstsq(h, t)[0])(hessenberg, target)
    return jnp.einsum("bk,kbd->bd", weights, basis[:-1], precision="highest").reshape(rhs.shape)


def _residual(x, gap):
    size = lambda a: jnp.sqrt(jnp.mean(jnp.square(a), axis=tuple(range(1, a.ndim))))
    return size(gap) / (1 + size(x))


def _better(new, old):
    """Of every member the result of the smaller residual; a NaN never wins, and always loses."""
    wins = ~(old.residual <= new.residual) & jnp.isfinite(new.residual)
    column = wins.reshape(-1, *[1] * (new.x.ndim - 1))
    return FixedPointResult(
        jnp.where(column, new.x, old.x),
        jnp.where(wins, new.residual, old.residual),
        new.evaluations,
    )
