"""Other methods of translation, each a `Translator`: a pytree called with (key, images)."""

from collections.abc import Callable

import jax
import numpy as np

from ddib_jax import parallel
from ddib_jax.baselines.cyclegan import CycleGAN
from ddib_jax.baselines.dcgan import DCGAN
from ddib_jax.baselines.ilvr import ILVR
from ddib_jax.baselines.sdedit import SDEdit
from ddib_jax.baselines.trivial import Identity, Nearest
from ddib_jax.bridge import check_finite
from ddib_jax.types import Images, PRNGKey, Translator


def translate(
    method: Translator,
    images: Images,
    *,
    key: PRNGKey | None = None,
    indices: np.ndarray | None = None,
    batch_size: int = 64,
    progress: Callable = iter,
) -> Images:
    """The translations [n h w c] of any number of images [n h w c] in [-1, 1] by any method.

    In batches on all local devices; arrays of the host. Image i has its noise from `key` (default
    0) and i, or its index in `indices` [n], so that the batching does not matter. Raises
    FloatingPointError for a result that is not finite.
    """
    translations = parallel.map_batches(
        _translate_each,
        (method, jax.random.key(0) if key is None else key),
        np.arange(len(images)) if indices is None else indices,
        images,
        batch_size=batch_size,
        progress=progress,
    )
    return check_finite(translations, "translations")


def _translate_each(tree, indices, images):
    method, key = tree

    def translate_one(index, image):
        return method(jax.random.fold_in(key, index), image[None])[0]

    return jax.vmap(translate_one)(indices, images)


__all__ = ["DCGAN", "ILVR", "CycleGAN", "Identity", "Nearest", "SDEdit", "translate"]
