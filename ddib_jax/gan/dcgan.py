"""DCGAN (Radford et al. 2016): a generator of images from noise, against a discriminator.

It translates nothing; CycleGAN's adversarial training descends from it.
"""

from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp
import optax
from flax import struct

from ddib_jax.gan.losses import vanilla
from ddib_jax.nets.dcgan import DCGANDiscriminator, DCGANGenerator
from ddib_jax.types import Image, Params, PRNGKey


@struct.dataclass
class DCGAN:
    """A trained generator, its batch normalisation folded into its weights."""

    params: Params
    network: DCGANGenerator = struct.field(pytree_node=False, kw_only=True)

    def sample(self, key: PRNGKey, count: int) -> Image:
        """`count` images [count s s c] in [-1, 1]."""
        z = jax.random.normal(key, (count, self.network.latent))
        return cast(Image, self.network.apply({"params": self.params}, z))


def dcgan_parameters(
    key: PRNGKey, generator: DCGANGenerator, discriminator: DCGANDiscriminator
) -> dict[str, Any]:
    """Both networks' weights, and the running statistics of their batch normalisation, as one tree.

    The tree is of the keys `generator`, `discriminator` and `stats`.
    """
    keys = jax.random.split(key)
    z = jnp.zeros((1, generator.latent))
    x = jnp.zeros((1, generator.size, generator.size, generator.out_channels))
    variables = {
        "generator": jax.jit(generator.init)(keys[0], z),
        "discriminator": jax.jit(discriminator.init)(keys[1], x),
    }
    params = {name: tree["params"] for name, tree in variables.items()}
    return params | {"stats": {name: tree["batch_stats"] for name, tree in variables.items()}}


def dcgan_optimiser(learning_rate: float) -> optax.GradientTransformation:
    """Adam (.5, .999) for both networks.

    The "gradient" of the running statistics is their change, so SGD at rate 1 applies it as it is.
    """
    kinds = lambda params: {name: "stats" if name == "stats" else "network" for name in params}
    return optax.multi_transform(
        {"network": optax.adam(learning_rate, b1=0.5, b2=0.999), "stats": optax.sgd(1.0)}, kinds
    )


def dcgan_gradients(generator: DCGANGenerator, discriminator: DCGANDiscriminator) -> Callable:
    """The `grad_fn` of min_G max_D E[log D(x)] + E[log(1 - D(G(z)))].

    The generator minimises the non-saturating -log D(G(z)) instead; both gradients are taken at the
    same parameters. (params, key, batch of `image` and `index`, shared) -> (metrics, gradients); an
    image's latent depends on its `index` in the global batch. Metrics: `loss` of the generator,
    `discriminator`, the mean logits `real` and `fake`, and `spread`, the deviation over the batch
    of generated images over that of real ones.
    """

    def grad_fn(params, key, batch, shared):
        stats, x = params["stats"], batch["image"]
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, batch["index"])
        z = jax.vmap(lambda key: jax.random.normal(key, (generator.latent,)))(keys)

        def logits_of(weights, stats, x):
            logits, updates = discriminator.apply(
                {"params": weights, "batch_stats": stats}, x, train=True, mutable="batch_stats"
            )
            return logits, updates["batch_stats"]

        def generator_loss(weights):
            fake, updates = generator.apply(
                {"params": weights, "batch_stats": stats["generator"]},
                z,
                train=True,
                mutable="batch_stats",
            )
            logits, _ = logits_of(params["discriminator"], stats["discriminator"], fake)
            return vanilla(logits, 1.0), (fake, updates["batch_stats"])

        def discriminator_loss(weights, fake):
            real_logits, new_stats = logits_of(weights, stats["discriminator"], x)
            fake_logits, new_stats = logits_of(weights, new_stats, fake)
            loss = vanilla(real_logits, 1.0) + vanilla(fake_logits, 0.0)
            return loss, (new_stats, jnp.mean(real_logits), jnp.mean(fake_logits))

        (loss, (fake, generator_stats)), generator_grads = jax.value_and_grad(
            generator_loss, has_aux=True
        )(params["generator"])
        (loss_d, aux), discriminator_grads = jax.value_and_grad(discriminator_loss, has_aux=True)(
            params["discriminator"], fake
        )
        discriminator_stats, real_logit, fake_logit = aux
        new_stats = {"generator": generator_stats, "discriminator": discriminator_stats}
        # the training loop knows gradients alone: of the statistics, old - new
        stats_change = jax.tree.map(lambda old, new: old - new, stats, new_stats)
        spread = jnp.mean(jnp.std(fake, axis=0)) / jnp.maximum(jnp.mean(jnp.std(x, axis=0)), 1e-6)
        metrics = {
            "loss": loss,
            "discriminator": loss_d,
            "real": real_logit,
            "fake": fake_logit,
            "spread": spread,
        }
        return metrics, {
            "generator": generator_grads,
            "discriminator": discriminator_grads,
            "stats": stats_change,
        }

    return grad_fn
