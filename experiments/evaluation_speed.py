"""One evaluation of one network here and in PyTorch, side by side in one run.

    python experiments/evaluation_speed.py

The network is diffusers' `UNet2DModel` with random weights, imported as any checkpoint is; both
libraries evaluate the same batch in turn. Needs the extra `parity`.
"""

import copy
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from ddib_jax import pretrained
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

    batch_size: int = 32
    rounds: int = 9


def main(config: Config) -> str:
    """Run; returns the table, which it also prints."""
    import diffusers
    import torch

    torch.manual_seed(0)
    twin = diffusers.UNet2DModel(**OPTIONS).eval()
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
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(config.rounds):
        for name, run in runs.items():
            clock = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - clock)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    best = min(value for name, value in medians.items() if name != "ddib_jax")
    count = sum(leaf.size for leaf in jax.tree.leaves(model.params))
    table = Table(
        ("", "seconds an evaluation", "evaluations a second, of the faster PyTorch's"),
        tuple((name, value, best / value) for name, value in medians.items()),
    )
    text = (
        f"{count / 1e6:.2f} M parameters, 32 x 32, batch {config.batch_size}, {machine()}; relative"
        f" difference {error:.1e}\n\n{markdown_table(table)}"
    )
    print(text)
    return text


if __name__ == "__main__":
    main(cli(Config))
