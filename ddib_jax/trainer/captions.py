"""Captions in a training: their tokenizer, those that previews show, and what is written."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from ddib_jax import distributed, nets
from ddib_jax.data import Captioned, ImageSource
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.files import drafted
from ddib_jax.pretrained import Checkpoint, TextEncoder, load_text_encoder
from ddib_jax.text import Tokenizer, learn_tokenizer, read_tokenizer

_READ = 20_000  # captions at least, where there are more, that a tokenizer is learnt from
_SHOWN = 32


def captioned(source: ImageSource) -> Captioned:
    """The source, which has captions; raises ValueError where it has none."""
    if not isinstance(source, Captioned):
        raise ValueError(
            "The data have no captions; leave them out, or give data that have some: captioned, or"
            " a folder with a metadata.jsonl or a .txt file beside each picture."
        )
    return source


def caption_tokenizer(source: ImageSource, folder: Path, *, size: int, seed: int) -> Tokenizer:
    """The tokenizer in a folder of a training, which the first host learns where there is none.

    size: tokens at most. seed: of the captions as training has them, which may say less or more
    than those that are shown. Raises ValueError for a source without captions, and as
    `learn_tokenizer` does.
    """
    source = captioned(source)
    if not folder.is_dir() and distributed.shard().index == 0:
        few = range(0, len(source), max(1, len(source) // _READ))
        with drafted(folder) as draft:
            rng = np.random.default_rng(seed)
            texts = source.captions(few) + source.captions(few, rng=rng)
            learn_tokenizer(texts, draft, size=size)
    distributed.barrier("tokenizer")
    return read_tokenizer(folder)


def first_captions(source: ImageSource, tokenizer: Tokenizer) -> Int[np.ndarray, "m n"]:
    """The tokens of the first captions of a source, at most 32, for previews."""
    captions = captioned(source).captions(range(min(_SHOWN, len(source))))
    return np.stack([tokenizer(caption).ids for caption in captions])


def text_encoder(checkpoint: Checkpoint) -> TextEncoder:
    """The text encoder of a model directory; raises ValueError where there is none in it."""
    if "text" not in checkpoint.facts:
        raise ValueError(
            f"'{checkpoint.name}' was not trained with --captions; start from a model that was, or"
            " leave --init out."
        )
    return load_text_encoder(checkpoint.path)


def joined(model: DiffusionModel, encoder: TextEncoder) -> DiffusionModel:
    """A model that is told what a text encoder says, as one of a `Captioned` network."""
    unet: Any = model.network
    network = nets.Captioned(unet, encoder.network)
    params = {"unet": model.params, "text_encoder": encoder.params}
    return replace(model, network=network, params=params)


def parted(model: DiffusionModel, tokenizer: Tokenizer) -> tuple[DiffusionModel, TextEncoder]:
    """The other way: a model of a `Captioned` network as that of its U-Net, and its encoder."""
    network: Any = model.network
    params: Any = model.params
    encoder = TextEncoder(
        network.text_encoder.clone(parent=None), params["text_encoder"], tokenizer
    )
    unet = network.unet.clone(parent=None)
    return replace(model, network=unet, params=params["unet"]), encoder
