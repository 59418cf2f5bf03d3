"""ILVR (Choi et al. 2021): target images whose low frequencies are the source's."""

from flax import struct

from ddib_jax.bridge import Bridge, Coupling, as_floats, decode_coupled, fixed_noise
from ddib_jax.bridge.couplings import Linear, Resized, StraightPath
from ddib_jax.types import Image, Keys

_COUPLING = Linear(Resized(4), kick=True)


@struct.dataclass
class ILVR:
    """Fresh noise decoded by the target's ODE, coupled to the source on a straight path of noise.

    The source's row is image + sigma noise; the paper draws noise anew at every step, here one draw
    serves all of them, as the ODE needs. target: the bridge of the target domain. coupling: by
    default the paper's, which after every step replaces what is left after downsampling by 4 and
    upsampling again.
    """

    target: Bridge
    coupling: Coupling = _COUPLING

    def __call__(self, keys: Keys, image: Image) -> Image:
        """Images [b h w c] in [-1, 1] and their keys [b] -> translations [b h w c]."""
        model, sigmas = self.target.model, self.target.sigmas
        data = model.to_data(as_floats(image, "images"))
        noise = fixed_noise(keys, data)
        latent = (data + sigmas[-1] * noise) / self.target.scale
        solution = decode_coupled(self.coupling, StraightPath(noise), self.target, latent)
        return model.to_image(model.denoise(solution.y, sigmas[0]))
