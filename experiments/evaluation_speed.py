"""One evaluation of one network here and in PyTorch, side by side in one run, and its parts.

    taskset -c 0 python experiments/evaluation_speed.py

`network`: diffusers' `UNet2DModel` with random weights, imported as any checkpoint is; both
libraries evaluate the same batch in turn. `convolutions`: each of its convolutions alone, as often
as it occurs: what of the network's time they are, and what is left. `doubling`: ways to double the
resolution in a GAN's generator, and their gradients. Needs the extra `parity`.
"""

import copy
import functools
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from ddib_jax import pretrained
from ddib_jax.nets.cyclegan import UpConv
from ddib_jax.nets.layers import double
from ddib_jax.options import cli
from ddib_jax.parallel import machine
from ddib_jax.report import markdown_table
from ddib_jax.runs import Table

OPTIONS = {
    "sample_size": 32,
    "block_out_channels": (64, 128, 128),
    "layers_per_block": 2,
    "attention_head_dim": None,
    "resnet_time_scale_shift": "scale_shift",
    "attn_norm_num_groups": 32,
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
}


@dataclass(frozen=True)
class Config:
    """Evaluate in turn, print the median of each."""

    parts: tuple[str, ...] = ("network", "convolutions", "doubling")
    batch_size: int = 32
    rounds: int = 9


def main(config: Config) -> str:
    """Run; returns the tables, which it also prints."""
    texts = []
    for name in config.parts:
        texts.append(PARTS[name](config))
        print(texts[-1] + "\n", flush=True)
    return "\n\n".join(texts)


def medians(runs: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """The median of each one's seconds, all of which run in turn after a first time untimed."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(rounds + 1):
        for name, run in runs.items():
            clock = time.perf_counter()
            jax.block_until_ready(run())
            if turn:
                seconds[name].append(time.perf_counter() - clock)
    return {name: statistics.median(times) for name, times in seconds.items()}


def the_twin() -> Any:
    """The network in PyTorch."""
    import diffusers
    import torch

    torch.manual_seed(0)
    return diffusers.UNet2DModel(**OPTIONS).eval()


def network(config: Config) -> str:
    """Both libraries' seconds an evaluation."""
    import diffusers
    import torch

    twin = the_twin()
    with tempfile.TemporaryDirectory() as folder:
        twin.save_pretrained(Path(folder) / "unet")
        diffusers.DDPMScheduler().save_pretrained(Path(folder) / "scheduler")
        model = pretrained.load(folder)
    x = np.random.default_rng(0).normal(size=(config.batch_size, 32, 32, 3)).astype(np.float32)
    time_step = np.full(config.batch_size, 500.0, np.float32)
    ours = jax.jit(lambda params, x, t: model.network.apply({"params": params}, x, t))
    image = torch.from_numpy(x.transpose(0, 3, 1, 2).copy())
    torch_time = torch.from_numpy(time_step)
    last_twin = copy.deepcopy(twin).to(memory_format=torch.channels_last)
    last_image = image.to(memory_format=torch.channels_last)

    def in_jax():
        return np.asarray(ours(model.params, jnp.asarray(x), jnp.asarray(time_step)))

    def in_torch(network, image):
        with torch.no_grad():
            return network(image, torch_time).sample.numpy().transpose(0, 2, 3, 1)

    error = np.linalg.norm(in_jax() - in_torch(twin, image)) / np.linalg.norm(in_jax())
    runs = {
        "ddib_jax": in_jax,
        "PyTorch": lambda: in_torch(twin, image),
        "PyTorch, channels last": lambda: in_torch(last_twin, last_image),
    }
    found = medians(runs, config.rounds)
    best = min(value for name, value in found.items() if name != "ddib_jax")
    count = sum(leaf.size for leaf in jax.tree.leaves(model.params))
    table = Table(
        ("", "seconds an evaluation", "evaluations a second, of the faster PyTorch's"),
        tuple((name, value, best / value) for name, value in found.items()),
    )
    return (
        f"{count / 1e6:.2f} M parameters, 32 x 32, batch {config.batch_size}, {machine()}; relative"
        f" difference {error:.1e}\n\n{markdown_table(table, digits=3)}"
    )


def convolutions(config: Config) -> str:
    """Both libraries' seconds for each convolution of the network, times its occurrences."""
    import torch

    shapes = shapes_of(torch, the_twin())
    rng, rows, sums = np.random.default_rng(0), [], {"ddib_jax": 0.0, "PyTorch": 0.0}
    for (size, inputs, outputs, side, stride), times in shapes.items():
        x = rng.normal(size=(config.batch_size, size, size, inputs)).astype(np.float32)
        kernel = rng.normal(size=(side, side, inputs, outputs)).astype(np.float32)
        border = side // 2
        ours = jax.jit(
            functools.partial(
                jax.lax.conv_general_dilated,
                window_strides=(stride, stride),
                padding=((border, border),) * 2,
                dimension_numbers=("NHWC", "HWIO", "NHWC"),
            )
        )
        here = jnp.asarray(x), jnp.asarray(kernel)
        last = {"memory_format": torch.channels_last}
        image = torch.from_numpy(x.transpose(0, 3, 1, 2).copy()).to(**last)
        weight = torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy()).to(**last)
        theirs = functools.partial(
            torch.nn.functional.conv2d, image, weight, stride=stride, padding=border
        )
        runs = {"ddib_jax": functools.partial(ours, *here), "PyTorch": lambda run=theirs: run()}
        found = medians(runs, config.rounds)
        flops = 2 * kernel.size * config.batch_size * (size // stride) ** 2
        for name, value in found.items():
            sums[name] += times * value
        rates = (flops / value / 1e9 for value in found.values())
        words = f"{side} x {side}, {inputs} to {outputs}, {size} x {size}"
        words += ", every other pixel" if stride > 1 else ""
        rows.append((words, times, *(1e3 * value for value in found.values()), *rates))
    heads = ("convolution", "times", "ms here", "ms PyTorch", "GFLOP/s here", "GFLOP/s PyTorch")
    table = Table(heads, tuple(rows))
    return (
        f"All convolutions: {sums['ddib_jax']:.3f} s here, {sums['PyTorch']:.3f} s in PyTorch"
        f"\n\n{markdown_table(table, digits=3)}"
    )


def shapes_of(torch: Any, twin: Any) -> Counter:
    """(input's side, channels in, channels out, kernel's side, stride) -> how often it occurs."""
    shapes: Counter = Counter()

    def note(layer: Any, inputs: tuple, _: Any) -> None:
        side, stride = layer.kernel_size[0], layer.stride[0]
        shapes[inputs[0].shape[-1], layer.in_channels, layer.out_channels, side, stride] += 1

    for layer in twin.modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer.register_forward_hook(note)
    with torch.no_grad():
        twin(torch.zeros(1, 3, OPTIONS["sample_size"], OPTIONS["sample_size"]), torch.ones(1))
    return shapes


def doubling(config: Config) -> str:
    """Seconds of ways to double the resolution: 128 to 64 channels, 16 x 16, batch 16."""
    x = jnp.asarray(np.random.default_rng(0).normal(size=(16, 16, 16, 128)), jnp.float32)
    ways: dict[str, nn.Module] = {
        "transposed convolution of XLA": nn.ConvTranspose(64, (4, 4), (2, 2)),
        "transposed convolution as products of patches, ours": UpConv(64),
        "nearest neighbours, then a convolution of 3 x 3": nn.Sequential(
            [double, nn.Conv(64, (3, 3))]
        ),
    }
    rows = []
    for name, layer in ways.items():
        params = layer.init(jax.random.key(0), x)
        forward = jax.jit(layer.apply)
        back = jax.jit(jax.grad(lambda params, x, run=layer: jnp.sum(run.apply(params, x) ** 2)))
        runs = {
            "forward": functools.partial(forward, params, x),
            "gradient": functools.partial(back, params, x),
        }
        found = medians(runs, config.rounds)
        rows.append((name, *(1e3 * value for value in found.values())))
    table = Table(("doubling by", "ms forward", "ms with the gradient"), tuple(rows))
    return markdown_table(table, digits=3)


PARTS: dict[str, Callable[[Config], str]] = {
    "network": network,
    "convolutions": convolutions,
    "doubling": doubling,
}


if __name__ == "__main__":
    main(cli(Config))
