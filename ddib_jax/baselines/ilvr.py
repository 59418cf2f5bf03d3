"""ILVR (Choi et al. 2021): target images whose low frequencies are the source's."""

from flax import struct

from ddib_jax.bridge import Bridge, Coupling, decode_coupled, fixed_noise
from ddib_jax.bridge.couplings import Linear, Resized, StraightPath
from ddib_jax.types import Image, Keys

_COUPLING = Linear(Resized(4))


@struct.dataclass
class ILVR:
    """Fresh noise decoded by the target's ODE, coupled to the source on a straight path of noise.

    The source's row is image + sigma noise, with one draw of noise for all levels; where the paper
    replaces low frequencies after every step, and draws noise anew, here they move with the
    source's row, so that the result does not depend on the number of steps. target: the bridge of
    the target domain. coupling: by default the paper's filter, what is left after downsampling by a
    factor and upsampling again.
    """

    target: Bridge
    coupling: Coupling = _COUPLING

    def __call__(self, keys: Keys, image: Image) -> Image:
        """Images [b h w c] in [-1, 1] and their keys [b] -> translations [b h w c]."""
        noise, sigmas = fixed_noise(keys, image), self.target.sigmas
        latent = (image + sigmas[-1] * noise) / self.target.scale
        solution = decode_coupled(self.coupling, StraightPath(noise), self.target, latent)
        return self.target.model.denoise(solution.y, sigmas[0])
