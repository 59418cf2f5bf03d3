"""Other methods of translation, each a `Translator`: a pytree that is called with a key
on images.
"""

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
    """Any number of images [n h w c] translated by any method, in batches on all local devices;
    host arrays.

    Image i has its noise from `key` (default 0) and i, or its index in `indices` [n], so that the
    batching does not matter. Raises FloatingPointError for a result that is not finite.
    """
    key = jax.random.key(0) if key is None else key
    return check_finite(
        parallel.map_batches(
            _each,
            (method, key),
            np.arange(len(images)) if indices is None else indices,
            images,
            batch_size=batch_size,
            progress=progress,
        ),
        "translations",
    )


def _each(tree, indices, images):
    method, key = tree
    return jax.vmap(lambda index, image: method(jax.random.fold_in(key, index), image[None])[0])(
        indices, images
    )


__all__ = ["DCGAN", "ILVR", "CycleGAN", "Identity", "Nearest", "SDEdit", "translate"]
