"""Couplings by what the networks compute: layers of the source's network steer the target's."""

import jax.numpy as jnp
from flax import struct

from ddib_jax.bridge.couplings.coupling import Rows, SideBySide
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.nets.hooks import inject, slerp_features
from ddib_jax.types import Denoiser, Scalar, VectorField


@struct.dataclass
class InjectFusion(SideBySide):
    """The target's features at `site`, turned towards the source's by spherical interpolation.

    Jeong, Kwon and Uh (2024), who do so at the bottleneck of one model; here the two networks may
    have weights of their own, if they have this layer in one shape. The source follows
    its own ODE, and nothing is stored. site: the name of a layer (`nets.hooks`), or "bottleneck",
    which every U-Net here knows. strength: 0 leaves the target alone, 1 gives it the source's
    direction; the norm is always the target's.
    """

    site: str = struct.field(pytree_node=False)
    strength: Scalar | float = 1.0

    def field(self, source: Denoiser, target: Denoiser) -> VectorField:
        """The slope of the pair.

        Raises ValueError for a denoiser without a network, whose features cannot be read, and for a
        network that names no bottleneck where that is the site.
        """
        source, target = _model(source), _model(target)
        sites = [self._site_in(model) for model in (source, target)]
        blend = lambda theirs, own: slerp_features(theirs, own, jnp.asarray(self.strength))

        def slope(sigma: Scalar, rows: Rows) -> Rows:
            y, x = rows[:, 0], rows[:, 1]
            denoised, features = source.read(y, sigma, sites[:1])
            hooks = inject({sites[1]: features[sites[0]]}, blend=blend)
            steered = target.hooked(*hooks).denoise(x, sigma)
            return (rows - jnp.stack([denoised, steered], axis=1)) / sigma

        return slope

    def _site_in(self, model: DiffusionModel) -> str:
        if self.site != "bottleneck":
            return self.site
        site = getattr(model.network, "bottleneck", None)
        if site is None:
            raise ValueError(
                f"A {type(model.network).__name__} names no bottleneck; give the name of a layer."
            )
        return site


def _model(denoiser: Denoiser) -> DiffusionModel:
    if not isinstance(denoiser, DiffusionModel):
        raise ValueError(
            f"A {type(denoiser).__name__} has no network whose features could be read; give a"
            " DiffusionModel."
        )
    return denoiser
