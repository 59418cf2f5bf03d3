"""CycleGAN (Zhu et al. 2017): two generators that undo each other, each against a discriminator.

What is here are its parameters, optimiser and gradients, for `training.fit`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

from ddib_jax.bridge import as_floats
from ddib_jax.gan.losses import ImagePool
from ddib_jax.nets.cyclegan import PatchDiscriminator
from ddib_jax.types import GeneratorNetwork, Image, Keys, Params, PRNGKey

SIDES = ("a", "b")


@struct.dataclass
class CycleGAN:
    """A trained generator: one pass, no noise."""

    params: Params
    network: GeneratorNetwork = struct.field(pytree_node=False, kw_only=True)

    def __call__(self, keys: Keys, image: Image) -> Image:
        """Images [b h w c] in [-1, 1] -> translations [b h w c]."""
        return self.network.apply({"params": self.params}, as_floats(image, "images"))


def cyclegan_parameters(
    key: PRNGKey,
    generator: GeneratorNetwork,
    discriminator: PatchDiscriminator,
    shape: tuple[int, ...],
    pool: int,
) -> dict[str, Any]:
    """Generators (`ab`, `ba`), discriminators (`a`, `b`) and pools of past fakes, as one tree.

    shape: that of an image, [h w c]. pool: how many images each pool is for.
    """
    x, keys = jnp.zeros((1, *shape)), jax.random.split(key, 4)
    init = lambda network, key: jax.jit(network.init)(key, x)["params"]
    return {
        "generators": {"ab": init(generator, keys[0]), "ba": init(generator, keys[1])},
        "discriminators": {"a": init(discriminator, keys[2]), "b": init(discriminator, keys[3])},
        "pools": {side: ImagePool.empty(pool, shape) for side in SIDES},
    }


def optimiser(learning_rate: float, steps: int, decay_from: int) -> optax.GradientTransformation:
    """Adam (.5, .999) at a rate that is constant up to step `decay_from`, then falls to 0 linearly.

    The "gradient" of a pool is its change, so SGD at rate 1 applies it as it is.
    """
    rate = optax.join_schedules(
        [
            optax.constant_schedule(learning_rate),
            optax.linear_schedule(learning_rate, 0.0, max(1, steps - decay_from)),
        ],
        [decay_from],
    )
    kinds = lambda params: {name: "pool" if name == "pools" else "network" for name in params}
    return optax.multi_transform(
        {"network": optax.adam(rate, b1=0.5, b2=0.999), "pool": optax.sgd(1.0)}, kinds
    )


def cyclegan_gradients(
    generator: GeneratorNetwork,
    discriminator: PatchDiscriminator,
    loss: Callable,
    *,
    cycle: float = 10.0,
    identity: float = 0.5,
    axis_name: str | None = None,
) -> Callable:
    """The `grad_fn` of training: (params, key, batch, shared) -> (metrics, gradients).

    The batch has images `a` and `b` [b h w c]. Generators minimise loss(D(fake), 1) + cycle (L1
    around the cycle + identity L1 of images that are of the target domain already); discriminators
    half of loss(D(real), 1) + loss(D(past fake), 0), the past fakes from the pool. All gradients
    are taken at the same parameters. Metrics: `loss` of the generators, `adversarial`, `cycle`, and
    for each side `discriminator_a` and `spread_a`, the deviation over the batch of generated images
    over that of real ones.
    """
    generate = lambda params, x: generator.apply({"params": params}, x)
    logits_of = lambda params, x: discriminator.apply({"params": params}, x)
    l1 = lambda x, y: jnp.mean(jnp.abs(x - y))

    def grad_fn(params, key, batch, shared):
        a, b = batch["a"], batch["b"]
        discriminators = params["discriminators"]

        def generators_loss(generators):
            to_a, to_b = (partial(generate, generators[name]) for name in ("ba", "ab"))
            fakes = {"b": to_b(a), "a": to_a(b)}
            cycled = l1(to_a(fakes["b"]), a) + l1(to_b(fakes["a"]), b)
            adversarial = sum(
                loss(logits_of(discriminators[side], fakes[side]), 1.0) for side in SIDES
            )
            unchanged = l1(to_b(b), b) + l1(to_a(a), a) if identity else 0.0
            total = adversarial + cycle * (cycled + identity * unchanged)
            return total, (fakes, {"adversarial": adversarial, "cycle": cycled})

        (total, (fakes, metrics)), generator_grads = jax.value_and_grad(
            generators_loss, has_aux=True
        )(params["generators"])

        past_fakes, pools = {}, {}
        for side, side_key in zip(SIDES, jax.random.split(key), strict=True):
            past_fakes[side], pools[side] = _exchanged(
                side_key, params["pools"][side], fakes[side], axis_name
            )

        def discriminator_loss(discriminators):
            def of_side(side):
                real = loss(logits_of(discriminators[side], batch[side]), 1.0)
                fake = loss(logits_of(discriminators[side], past_fakes[side]), 0.0)
                return 0.5 * (real + fake)

            losses = {side: of_side(side) for side in SIDES}
            return sum(losses.values()), losses

        (_, losses), discriminator_grads = jax.value_and_grad(discriminator_loss, has_aux=True)(
            discriminators
        )
        metrics = {"loss": total, **metrics}
        metrics |= {f"discriminator_{side}": losses[side] for side in SIDES}
        metrics |= {
            f"spread_{side}": _spread(fakes[side], batch[side], axis_name) for side in SIDES
        }
        return metrics, {
            "generators": generator_grads,
            "discriminators": discriminator_grads,
            # the training loop knows gradients alone: of a pool, old - new
            "pools": jax.tree.map(lambda old, new: old - new, params["pools"], pools),
        }

    return grad_fn


def _exchanged(
    key: PRNGKey, pool: ImagePool, fakes: Image, axis_name: str | None
) -> tuple[Image, ImagePool]:
    """The fakes for this device's discriminator, and the pool after them.

    Every device exchanges the images of all devices, so that their pools stay equal.
    """
    if axis_name is None:
        return pool.exchanged(key, fakes)
    returned, pool = pool.exchanged(key, _gathered(fakes, axis_name))
    start = jax.lax.axis_index(axis_name) * len(fakes)
    return jax.lax.dynamic_slice_in_dim(returned, start, len(fakes)), pool


def _gathered(images: Image, axis_name: str | None) -> Image:
    """The images of all devices."""
    if axis_name is None:
        return images
    return jax.lax.all_gather(images, axis_name).reshape(-1, *images.shape[1:])


def _spread(fakes: Image, real: Image, axis_name: str | None) -> jax.Array:
    """Of all devices' batches the deviation of the fakes over that of the real images."""
    deviation = lambda images: jnp.mean(jnp.std(_gathered(images, axis_name), axis=0))
    return deviation(fakes) / jnp.maximum(deviation(real), 1e-6)
