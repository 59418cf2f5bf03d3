"""DCGAN (Radford et al. 2016): a generator of images from noise against a discriminator; it
translates nothing, and is what CycleGAN's game came from.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

from ddib_jax.adversarial import vanilla
from ddib_jax.nets.dcgan import DCGANDiscriminator, DCGANGenerator
from ddib_jax.types import Image, Network, Params, PRNGKey


@struct.dataclass
class DCGAN:
    """A trained generator, its batch normalisation folded into its weights."""

    params: Params
    network: Network = struct.field(pytree_node=False, kw_only=True)

    def sample(self, key: PRNGKey, count: int) -> Image:
        """So many images [count s s c] in [-1, 1]."""
        return self.network.apply(
            {"params": self.params}, jax.random.normal(key, (count, self.network.latent))
        )


def dcgan_parameters(
    key: PRNGKey, generator: DCGANGenerator, discriminator: DCGANDiscriminator
) -> dict[str, Any]:
    """Both networks' weights and the running statistics of their batch normalisation, as one tree
    of parameters.
    """
    keys = jax.random.split(key)
    z, x = (
        jnp.zeros((1, generator.latent)),
        jnp.zeros((1, generator.size, generator.size, generator.out_channels)),
    )
    made = {
        "generator": jax.jit(generator.init)(keys[0], z),
        "discriminator": jax.jit(discriminator.init)(keys[1], x),
    }
    return {name: variables["params"] for name, variables in made.items()} | {
        "stats": {name: v["batch_stats"] for name, v in made.items()}
    }


def dcgan_optimiser(learning_rate: float) -> optax.GradientTransformation:
    """Adam (.5, .999) for both networks; the statistics are moved by their "gradient" as it is."""
    kinds = lambda params: {name: "stats" if name == "stats" else "network" for name in params}
    return optax.multi_transform(
        {"network": optax.adam(learning_rate, b1=0.5, b2=0.999), "stats": optax.sgd(1.0)}, kinds
    )


def dcgan_gradients(generator: DCGANGenerator, discriminator: DCGANDiscriminator) -> Callable:
    """The `grad_fn` of min_G max_D E[log D(x)] + E[log(1 - D(G(z)))], G by the non-saturating -log
    D(G(z)); both at the same parameters.

    (params, key, batch of `image` and `index`, shared) -> (metrics, gradients); an image's latent
    depends on its place `index`. Metrics: `loss` of the generator, `discriminator`, the mean logits
    `real` and `fake`, and `spread`, the deviation over the batch of what is made over that of real
    images.
    """

    def grad_fn(params, key, batch, shared):
        stats, x = params["stats"], batch["image"]
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, batch["index"])
        z = jax.vmap(lambda key: jax.random.normal(key, (generator.latent,)))(keys)

        def logits_of(weights, stats, x):
            logits, after = discriminator.apply(
                {"params": weights, "batch_stats": stats}, x, train=True, mutable="batch_stats"
            )
            return logits, after["batch_stats"]

        def generator_loss(weights):
            fake, after = generator.apply(
                {"params": weights, "batch_stats": stats["generator"]},
                z,
                train=True,
                mutable="batch_stats",
            )
            logits, _ = logits_of(params["discriminator"], stats["discriminator"], fake)
            return vanilla(logits, 1.0), (fake, after["batch_stats"])

        (loss, (fake, made)), moves = jax.value_and_grad(generator_loss, has_aux=True)(
            params["generator"]
        )

        def discriminator_loss(weights):
            real, after = logits_of(weights, stats["discriminator"], x)
            false, after = logits_of(weights, after, fake)
            return vanilla(real, 1.0) + vanilla(false, 0.0), (
                after,
                jnp.mean(real),
                jnp.mean(false),
            )

        (lost, (seen, real, false)), counters = jax.value_and_grad(
            discriminator_loss, has_aux=True
        )(params["discriminator"])
        back = jax.tree.map(
            lambda old, new: old - new, stats, {"generator": made, "discriminator": seen}
        )
        spread = jnp.mean(jnp.std(fake, axis=0)) / jnp.maximum(jnp.mean(jnp.std(x, axis=0)), 1e-6)
        metrics = {
            "loss": loss,
            "discriminator": lost,
            "real": real,
            "fake": false,
            "spread": spread,
        }
        return metrics, {"generator": moves, "discriminator": counters, "stats": back}

    return grad_fn
