"""Checkpoints of openai/guided-diffusion, improved-diffusion and DDIB.

A checkpoint is a state dict in a `.pt` (or safetensors) file and the flags it was trained with.
The flags lie beside the weights in a JSON file, under the reference's names: `model.json`,
`model_flags.json` or `flags.json` for `model.pt`. What is not there has the reference's default;
the checkpoints that openai published are known by their file names.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ddib_jax.diffusion import DiffusionModel
from ddib_jax.nets import NoisyClassifier, UNet, example_condition
from ddib_jax.preconditioning import Epsilon, Sample
from ddib_jax.pretrained.guided_diffusion_flags import (
    CLASSIFIER_DEFAULTS,
    DEFAULTS,
    PUBLISHED,
    PUBLISHED_CLASSIFIERS,
    read_flags,
    resolutions,
)
from ddib_jax.pretrained.torch_files import open_weights
from ddib_jax.pretrained.torch_names import load_params, state_dict
from ddib_jax.schedules import Discrete
from ddib_jax.types import Params

_POSITIONS = ("qkv", "proj_out", "qkv_proj", "c_proj")
"""Layers that the reference has as convolutions of width 1 over positions."""


def load_guided_diffusion(
    path: str | Path, *, flags: Mapping[str, Any] | None = None, weights: str | None = None
) -> DiffusionModel:
    """The diffusion model of a checkpoint, float32; `flags` in place of those beside it.

    weights: which ones of a file that holds several. Raises FileNotFoundError where weights or
    flags are missing, ValueError for a flag that is unknown, an option that is not supported, and
    weights that are not those that the flags describe.
    """
    path = Path(path)
    flags = read_flags(path, flags, defaults=DEFAULTS, published=PUBLISHED)
    if flags["num_heads_upsample"] not in (-1, flags["num_heads"]):
        raise ValueError(
            f"{path}: num_heads_upsample = {flags['num_heads_upsample']} differs from num_heads;"
            " such networks are not supported."
        )
    size, channels = flags["image_size"], flags["in_channels"]
    tensors = open_weights(path, weights=weights)
    # The flags say that there are classes, and the weights how many.
    classes = len(_tensor(tensors, "label_emb.weight", path)) if flags["class_cond"] else None
    repeats = flags["num_res_blocks"]
    network = UNet(
        out_channels=channels,
        num_res_blocks=repeats,
        attention_resolutions=resolutions(flags["attention_resolutions"]),
        num_heads=flags["num_heads"],
        num_head_channels=None if flags["num_head_channels"] == -1 else flags["num_head_channels"],
        use_new_attention_order=flags["use_new_attention_order"],
        use_scale_shift_norm=flags["use_scale_shift_norm"],
        resblock_updown=flags["resblock_updown"],
        num_classes=classes,
        learn_sigma=flags["learn_sigma"],
        time_scale=1000 / flags["diffusion_steps"] if flags["rescale_timesteps"] else 1.0,
        dropout=float(flags["dropout"]),
        **_widths(tensors, flags["num_channels"], flags["channel_mult"], repeats, path),
    )
    schedules = {"linear": Discrete.linear, "cosine": Discrete.cosine}
    if flags["noise_schedule"] not in schedules:
        raise ValueError(
            f"{path}: noise_schedule = {flags['noise_schedule']!r} is not known; known are"
            f" {', '.join(schedules)}."
        )
    x = jax.ShapeDtypeStruct((1, size, size, channels), jnp.float32)
    inputs = (x, jnp.zeros(1), example_condition(network))
    params = load_params(network, inputs, tensors, path)
    return DiffusionModel(
        params,
        Sample() if flags["predict_xstart"] else Epsilon(),
        network=network,
        schedule=schedules[flags["noise_schedule"]](flags["diffusion_steps"]),
        data_shape=(size, size, channels),
    )


def load_noisy_classifier(
    path: str | Path, *, flags: Mapping[str, Any] | None = None
) -> tuple[Params, NoisyClassifier]:
    """The parameters, float32, and the network of a classifier of noisy images.

    Raises as `load_guided_diffusion` does.
    """
    path = Path(path)
    flags = read_flags(path, flags, defaults=CLASSIFIER_DEFAULTS, published=PUBLISHED_CLASSIFIERS)
    weights, size, depth = open_weights(path), flags["image_size"], flags["classifier_depth"]
    network = NoisyClassifier(
        num_classes=flags["out_channels"],
        pool=flags["classifier_pool"],
        num_res_blocks=depth,
        attention_resolutions=resolutions(flags["classifier_attention_resolutions"]),
        num_head_channels=64,  # fixed by the reference's `create_classifier`
        use_scale_shift_norm=flags["classifier_use_scale_shift_norm"],
        resblock_updown=flags["classifier_resblock_updown"],
        **_widths(weights, flags["classifier_width"], "", depth, path),
    )
    channels = _tensor(weights, "input_blocks.0.0.weight", path).shape[1]
    x = jax.ShapeDtypeStruct((1, size, size, channels), jnp.float32)
    return load_params(network, (x, jnp.zeros(1)), weights, path), network


def to_guided_diffusion(model: DiffusionModel) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The state dict, float32, and the flags of a model as guided-diffusion has them.

    Raises ValueError where it has no such model.
    """
    network, schedule = model.network, model.schedule
    steps = len(schedule.alphas_cumprod) if isinstance(schedule, Discrete) else 1000
    if (
        not isinstance(network, UNet)
        or network.patch_size != 1
        or network.norm_num_groups != 32
        or network.time_scale not in (1.0, 1000 / steps)
    ):
        raise ValueError(
            "guided-diffusion holds its own U-Net alone, without a patch stem, with norms of 32"
            " groups and with time in steps."
        )
    if not isinstance(model.precondition, Epsilon | Sample):
        raise ValueError("guided-diffusion holds models that predict epsilon or the clean image.")
    schedules = {}
    if isinstance(schedule, Discrete):
        schedules = {"linear": Discrete.linear(steps), "cosine": Discrete.cosine(steps)}
    name = next((name for name, other in schedules.items() if other == schedule), None)
    if name is None:
        raise ValueError(
            "guided-diffusion has linear and cosine betas; this model has another noise schedule."
        )
    size, channels = model.data_shape[0], model.data_shape[-1]
    flags = {
        "image_size": size,
        "num_channels": network.model_channels,
        "num_res_blocks": network.num_res_blocks,
        "num_heads": network.num_heads,
        "num_head_channels": -1 if network.num_head_channels is None else network.num_head_channels,
        "attention_resolutions": ",".join(map(str, network.attention_resolutions)),
        "channel_mult": ",".join(f"{mult:g}" for mult in network.channel_mult),
        "dropout": network.dropout,
        "class_cond": network.num_classes is not None,
        "use_scale_shift_norm": network.use_scale_shift_norm,
        "resblock_updown": network.resblock_updown,
        "use_new_attention_order": network.use_new_attention_order,
        "in_channels": channels,
        "learn_sigma": network.learn_sigma,
        "diffusion_steps": steps,
        "noise_schedule": name,
        "predict_xstart": isinstance(model.precondition, Sample),
        "rescale_timesteps": network.time_scale != 1.0,
    }
    return state_dict(model.params, positions=_POSITIONS), flags


def _tensor(weights: Mapping[str, np.ndarray], key: str, path: Path) -> np.ndarray:
    if key not in weights:
        raise ValueError(
            f"The weights of {path} are not those that its options describe: {key} is missing."
        )
    return weights[key]


def _widths(
    weights: Mapping[str, np.ndarray], channels: int, mult: str, repeats: int, path: Path
) -> dict[str, Any]:
    """The width of the network and of its levels, as options of the network.

    They are those of the flag `channel_mult`; where it is empty, which leaves them to the image
    size, those of the weights.
    """
    if mult:
        factors = (float(part) if "." in part else int(part) for part in mult.split(","))
        return {"model_channels": channels, "channel_mult": tuple(factors)}
    widths, block = [], 1
    while (key := f"input_blocks.{block}.0.in_layers.2.weight") in weights:
        widths.append(len(weights[key]))
        block += repeats + 1  # a level is `repeats` residual blocks and a downsampling
    if not widths:
        raise ValueError(
            f"The weights of {path} are not those of a U-Net of guided-diffusion:"
            " input_blocks.1.0.in_layers.2.weight is missing."
        )
    factors = (width / channels if width % channels else width // channels for width in widths)
    return {"model_channels": channels, "channel_mult": tuple(factors)}
