"""How far a pipeline of Stable Diffusion read here is from the same folder in diffusers.

    python experiments/check_pipeline.py DIR [--steps 5]

Every component on random inputs, then DDIM with guidance from one latent; both in float32 on the
CPU. Needs torch, diffusers and transformers (extra `parity`), and the memory for both.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from ddib_jax import pretrained
from ddib_jax.bridge import Bridge
from ddib_jax.guidance import ClassifierFreeGuidance
from ddib_jax.options import cli
from ddib_jax.pretrained import Checkpoint
from ddib_jax.solvers import EULER

if TYPE_CHECKING:  # imported where they are used: the options are read without them
    import diffusers
    import torch


@dataclass(frozen=True)
class Config:
    """Compare a folder with diffusers, component by component."""

    folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="DIR")]
    """The folder of a pipeline, with model_index.json."""
    steps: int = 5
    """Steps of DDIM from noise to an image."""
    prompt: str = "a photo of an astronaut riding a horse"
    """What the image is to show."""
    guidance: float = 7.5
    """Scale of classifier-free guidance."""
    seed: int = 0
    """Seed of inputs and latents."""


def main(config: Config) -> dict[str, tuple[float, float]]:
    """Compare and print; component -> the largest difference, and the deviation of the values."""
    import diffusers
    import torch

    checkpoint = pretrained.open(config.folder)
    twin = diffusers.DiffusionPipeline.from_pretrained(
        config.folder, torch_dtype=torch.float32, safety_checker=None
    )
    twin.set_progress_bar_config(disable=True)
    twin.scheduler = diffusers.DDIMScheduler.from_config(
        twin.scheduler.config,
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        timestep_spacing="leading",
    )
    with jax.default_matmul_precision("float32"), torch.no_grad():
        pairs = {
            **_texts(config, checkpoint, twin),
            **_networks(config, checkpoint, twin),
            f"{config.steps} steps of DDIM": _samples(config, checkpoint, twin),
        }
    found = {}
    for name, (mine, theirs) in pairs.items():
        found[name] = (float(np.abs(mine - theirs).max()), float(np.std(theirs)))
        print(f"{name:24} largest difference {found[name][0]:.1e}, deviation {found[name][1]:.2g}")
    return found


Pair = tuple[np.ndarray, np.ndarray]


def _texts(config: Config, checkpoint: Checkpoint, twin: "diffusers.DiffusionPipeline") -> dict:
    said = twin.encode_prompt(
        config.prompt, device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=True
    )
    told, null = checkpoint.conditioner([config.prompt]), checkpoint.conditioner.null
    pairs = {
        "text": (told["text"], said[0].numpy()),
        "text of no prompt": (null["text"], said[1].numpy()[0]),
    }
    return pairs | ({"pooled text": (told["pooled"], said[2].numpy())} if "pooled" in told else {})


def _networks(config: Config, checkpoint: Checkpoint, twin: "diffusers.DiffusionPipeline") -> dict:
    import torch

    model, rng = checkpoint.model(), np.random.default_rng(config.seed)
    code = rng.normal(size=(1, *model.data_shape)).astype(np.float32)
    image = rng.uniform(-1, 1, (1, *model.image_shape)).astype(np.float32)
    told, time = checkpoint.conditioner([config.prompt]), np.asarray([501.0], np.float32)
    added = {}
    if "pooled" in told:
        named = {"text_embeds": told["pooled"], "time_ids": told["time_ids"]}
        added = {
            "added_cond_kwargs": {name: torch.from_numpy(leaf) for name, leaf in named.items()}
        }
    outputs = twin.unet(
        _nchw(code), torch.from_numpy(time), torch.from_numpy(told["text"]), **added
    )
    mine = jax.jit(model.network.apply)({"params": model.params}, code, time, told)
    scaling = twin.vae.config.scaling_factor
    encoded = twin.vae.encode(_nchw(image)).latent_dist.mean * scaling
    decoded = twin.vae.decode(_nchw(code) / scaling).sample
    return {
        "U-Net": (np.asarray(mine), _nhwc(outputs.sample)),
        "autoencoder, encoding": (np.asarray(jax.jit(model.to_data)(image)), _nhwc(encoded)),
        "autoencoder, decoding": (np.asarray(jax.jit(model.to_image)(code)), _nhwc(decoded)),
    }


def _samples(config: Config, checkpoint: Checkpoint, twin: "diffusers.DiffusionPipeline") -> Pair:
    conditioner, model = checkpoint.conditioner, checkpoint.model()
    cond = jax.tree.map(lambda leaf: leaf[0], conditioner([config.prompt]))
    guidance = ClassifierFreeGuidance(conditioner.null, jnp.asarray(config.guidance))
    bridge = Bridge.over(
        model.given(cond).guided(guidance), steps=config.steps, grid="ddim", solver=EULER
    )
    noise = np.random.default_rng(config.seed).normal(size=(1, *model.data_shape))
    noise = noise.astype(np.float32)
    data = bridge.solve(jnp.asarray(noise) * bridge.scale, rising=False).y
    # diffusers decodes x_t of the table's first time, and not x
    mine = model.to_image(data / jnp.sqrt(1 + bridge.sigmas[0] ** 2))
    height, width, _ = model.image_shape
    theirs = twin(
        config.prompt,
        num_inference_steps=config.steps,
        guidance_scale=config.guidance,
        latents=_nchw(noise),
        height=height,
        width=width,
        output_type="pt",
    ).images
    return np.clip(np.asarray(mine), -1, 1), 2 * _nhwc(theirs) - 1


def _nchw(x: np.ndarray) -> "torch.Tensor":
    import torch

    return torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))


def _nhwc(x: "torch.Tensor") -> np.ndarray:
    return x.numpy().transpose(0, 2, 3, 1)


if __name__ == "__main__":
    main(cli(Config))
