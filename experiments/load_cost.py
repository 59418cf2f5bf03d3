"""Seconds and memory that loading a checkpoint of the size of ADM-256 takes.

    python experiments/load_cost.py

Writes a guided-diffusion `.pt` of 553 million random weights to a temporary folder (2.2 GB), loads
it in a process of its own, and prints the peak of memory above what the process held before.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from ddib_jax import pretrained
from ddib_jax.nets import UNet
from ddib_jax.options import cli
from ddib_jax.pretrained.torch_names import state_dict
from ddib_jax.pretrained.torch_writer import save_state_dict

FLAGS = {
    "image_size": 256,
    "num_channels": 256,
    "channel_mult": "1,1,2,2,4,4",
    "num_res_blocks": 2,
    "num_head_channels": 64,
    "attention_resolutions": "32,16,8",
    "class_cond": True,
    "learn_sigma": True,
    "resblock_updown": True,
    "diffusion_steps": 1000,
    "noise_schedule": "linear",
}
NETWORK = UNet(
    model_channels=256,
    channel_mult=(1, 1, 2, 2, 4, 4),
    num_res_blocks=2,
    num_head_channels=64,
    attention_resolutions=(32, 16, 8),
    num_classes=1000,
    learn_sigma=True,
    resblock_updown=True,
)


@dataclass(frozen=True)
class Config:
    """Write, load, measure."""

    load: Path | None = None
    """Load this file and print what it took, in JSON; the process that measures calls itself so."""


def main(config: Config) -> str:
    """Run; returns the sentence that it prints."""
    if config.load:
        return _load(config.load)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.pt"
        _write(path)
        size = path.stat().st_size
        command = [sys.executable, __file__, "--load", str(path)]
        process = subprocess.run(command, check=True, capture_output=True, text=True)
        costs = json.loads(process.stdout.splitlines()[-1])
    words = (
        f"{costs['parameters'] / 1e6:.0f} M parameters, a file of {size / 1e9:.2f} GB: loaded in"
        f" {costs['seconds']:.1f} s, with a peak of {costs['bytes'] / size:.2f} times the file's"
        " size in memory."
    )
    print(words)
    return words


def _write(path: Path) -> None:
    x = jax.ShapeDtypeStruct((1, 256, 256, 3), jnp.float32)
    shapes = jax.eval_shape(
        NETWORK.init, jax.random.key(0), x, jnp.zeros(1), jnp.zeros(1, jnp.int32)
    )["params"]
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda leaf: rng.standard_normal(leaf.shape, np.float32), shapes)
    save_state_dict(path, state_dict(params, positions=("qkv", "proj_out")))
    path.with_name("flags.json").write_text(json.dumps(FLAGS))


def _load(path: Path) -> str:
    jnp.zeros(1).block_until_ready()
    before, clock = memory("VmRSS"), time.perf_counter()
    model = pretrained.load(path)
    jax.block_until_ready(model.params)
    costs = {
        "seconds": time.perf_counter() - clock,
        "bytes": memory("VmHWM") - before,
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(model.params)),
    }
    print(json.dumps(costs))
    return json.dumps(costs)


def memory(word: str) -> int:
    """Bytes of memory that this process holds (VmRSS) or has held at most (VmHWM).

    Elsewhere than on Linux both are the most that it has held.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        lines = status.read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(word))
    # In kilobytes, but on macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    main(cli(Config))
