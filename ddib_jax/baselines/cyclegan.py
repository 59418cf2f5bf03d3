"""CycleGAN (Zhu et al. 2017): two generators that undo each other, each against a discriminator;
trained by the loop that trains all else.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

from ddib_jax.adversarial import ImagePool
from ddib_jax.nets.cyclegan import PatchDiscriminator
from ddib_jax.types import Image, Network, Params, PRNGKey

SIDES = ("a", "b")


@struct.dataclass
class CycleGAN:
    """A trained generator: one pass, no noise."""

    params: Params
    network: Network = struct.field(pytree_node=False, kw_only=True)

    def __call__(self, key: PRNGKey, image: Image) -> Image:
        """Images [b h w c] in [-1, 1] -> translations [b h w c]."""
        return self.network.apply({"params": self.params}, image)


def cyclegan_parameters(
    key: PRNGKey,
    generator: Network,
    discriminator: PatchDiscriminator,
    shape: tuple[int, ...],
    pool: int,
) -> dict[str, Any]:
    """Both generators (`ab`, `ba`), both discriminators and both pools of past fakes, as one tree
    of parameters.
    """
    x, keys = jnp.zeros((1, *shape)), jax.random.split(key, 4)
    made = lambda network, key: jax.jit(network.init)(key, x)["params"]
    return {
        "generators": {"ab": made(generator, keys[0]), "ba": made(generator, keys[1])},
        "discriminators": {"a": made(discriminator, keys[2]), "b": made(discriminator, keys[3])},
        "pools": {side: ImagePool.empty(pool, shape) for side in SIDES},
    }


def optimiser(learning_rate: float, steps: int, decay_from: int) -> optax.GradientTransformation:
    """Adam (.5, .999) at a rate that is constant up to a step and then falls to nothing; a pool is
    moved by its "gradient" as it is.
    """
    falling = optax.join_schedules(
        [
            optax.constant_schedule(learning_rate),
            optax.linear_schedule(learning_rate, 0.0, max(1, steps - decay_from)),
        ],
        [decay_from],
    )
    kinds = lambda params: {name: "pool" if name == "pools" else "network" for name in params}
    return optax.multi_transform(
        {"network": optax.adam(falling, b1=0.5, b2=0.999), "pool": optax.sgd(1.0)}, kinds
    )


def cyclegan_gradients(
    generator: Network,
    discriminator: PatchDiscriminator,
    loss: Callable,
    *,
    cycle: float = 10.0,
    identity: float = 0.5,
    axis_name: str | None = None,
) -> Callable:
    """The `grad_fn` of the game: (params, key, batch of `a` and `b`, shared) -> (metrics,
    gradients).

    Generators minimise loss(D(fake), 1) + cycle (L1 around the cycle + identity L1 of what is in
    the target domain already); discriminators half of loss(real, 1) + loss(shown, 0), shown from
    the pool. All are taken at the same parameters. Metrics: `loss` of the generators,
    `adversarial`, `cycle`, and for each side `discriminator_a` and `spread_a` (deviation over the
    batch of what is made over that of real images).
    """
    made = lambda params, x: generator.apply({"params": params}, x)
    logits_of = lambda params, x: discriminator.apply({"params": params}, x)
    apart = lambda x, y: jnp.mean(jnp.abs(x - y))

    def grad_fn(params, key, batch, shared):
        a, b = batch["a"], batch["b"]
        discriminators = params["discriminators"]

        def generators_loss(generators):
            fakes = {"b": made(generators["ab"], a), "a": made(generators["ba"], b)}
            around = apart(made(generators["ba"], fakes["b"]), a) + apart(
                made(generators["ab"], fakes["a"]), b
            )
            fooled = sum(loss(logits_of(discriminators[side], fakes[side]), 1.0) for side in SIDES)
            kept = (
                apart(made(generators["ab"], b), b) + apart(made(generators["ba"], a), a)
                if identity
                else 0.0
            )
            return fooled + cycle * (around + identity * kept), (
                fakes,
                {"adversarial": fooled, "cycle": around},
            )

        (total, (fakes, metrics)), moves = jax.value_and_grad(generators_loss, has_aux=True)(
            params["generators"]
        )
        shown, pools = {}, {}
        for side, own in zip(SIDES, jax.random.split(key), strict=True):
            shown[side], pools[side] = _exchanged(
                params["pools"][side], own, fakes[side], axis_name
            )

        def discriminator_loss(discriminators):
            real = {"a": a, "b": b}
            lost = {
                side: (
                    0.5
                    * (
                        loss(logits_of(discriminators[side], real[side]), 1.0)
                        + loss(logits_of(discriminators[side], shown[side]), 0.0)
                    )
                )
                for side in SIDES
            }
            return sum(lost.values()), lost

        (_, lost), counters = jax.value_and_grad(discriminator_loss, has_aux=True)(discriminators)
        metrics = {
            "loss": total,
            **metrics,
            **{f"discriminator_{side}": lost[side] for side in SIDES},
        }
        metrics |= {
            f"spread_{side}": _spread(fakes[side], batch[side], axis_name) for side in SIDES
        }
        back = jax.tree.map(lambda old, new: old - new, params["pools"], pools)
        return metrics, {"generators": moves, "discriminators": counters, "pools": back}

    return grad_fn


def _exchanged(
    pool: ImagePool, key: PRNGKey, fakes: Image, axis_name: str | None
) -> tuple[Image, ImagePool]:
    """What this device shows its discriminator; every device exchanges the images of all, so that
    their pools stay one.
    """
    if axis_name is None:
        return pool.exchanged(key, fakes)
    everybody = _gathered(fakes, axis_name)
    shown, pool = pool.exchanged(key, everybody)
    return (
        jax.lax.dynamic_slice_in_dim(shown, jax.lax.axis_index(axis_name) * len(fakes), len(fakes)),
        pool,
    )


def _gathered(images: Image, axis_name: str | None) -> Image:
    """The images of all devices."""
    return (
        images
        if axis_name is None
        else jax.lax.all_gather(images, axis_name).reshape(-1, *images.shape[1:])
    )


def _spread(fakes: Image, real: Image, axis_name: str | None) -> jax.Array:
    made, wanted = (
        jnp.mean(jnp.std(_gathered(images, axis_name), axis=0)) for images in (fakes, real)
    )
    return made / jnp.maximum(wanted, 1e-6)
