"""One evaluation of each network here and in PyTorch, on the same device and as fast as each can.

    python experiments/beside_torch.py                         # on a GPU, minutes
    python experiments/beside_torch.py --models adm-64 sd15

The networks are the shipped one and those of ADM and Stable Diffusion in their published sizes, and
in PyTorch the same networks of diffusers: of as many parameters, which is checked. Weights are
random, of bfloat16, as are the inputs. PyTorch has its weights in channels last and cuDNN choose
its algorithms, and runs as it is and compiled (`torch.compile`). Compiling is not timed; medians of
several calls. Needs the extra `parity`.
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from accelerator import BATCHES, drawn, known, timed
from ddib_jax import parallel, runs
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.nets import UNet
from ddib_jax.options import cli
from ddib_jax.pretrained.diffusers_unet import to_diffusers
from ddib_jax.report import markdown_table
from ddib_jax.roofline import CHIPS, Cost
from ddib_jax.types import Network
from study import RUNS, Study


@dataclass(frozen=True)
class Config:
    """Time this machine's accelerator under JAX and under PyTorch."""

    models: tuple[str, ...] = tuple(BATCHES)
    batch: int | None = None
    """Images at once, in place of the model's own number."""
    compiled: bool = True
    """Run PyTorch's compiled networks, too, some of which take a minute to compile."""
    repeats: int = 20
    """Timed calls, of which the median counts."""
    out: Path = RUNS / "beside_torch"


def main(config: Config) -> Path:
    """Run the study; returns the path of its page."""
    import diffusers
    import torch

    versions = f"torch {torch.__version__}, diffusers {diffusers.__version__}, jax"
    versions = f"{versions} {jax.__version__}"
    print(versions, flush=True)
    study = Study("beside_torch", "One evaluation, here and in PyTorch", config)
    rows = []
    for name in config.models:
        model, batch = known(name), config.batch or BATCHES[name]
        shape = input_shape(model, batch)
        count = sum(leaf.size for leaf in jax.tree.leaves(model.params))
        ours = of_jax(config, model, shape)
        theirs = list(of_torch(config, model.network, shape, count))
        best = min(seconds for _, seconds in theirs)
        for by, seconds, *counted in (("ddib_jax", *ours), *theirs):
            rates = (1e3 * seconds, batch / seconds, best / seconds, *(counted or (None, None)))
            rows.append((name, count / 1e6, batch, by, *rates))
            print(*rows[-1], flush=True)
    columns = ("network", "parameters, M", "batch", "by", "ms an evaluation", "images a second")
    columns += ("of the faster PyTorch's", "TFLOP/s", "of the bfloat16 peak")
    caption = f"One evaluation in bfloat16, without guidance, by {versions}"
    return study.publish(
        shown=lambda run: markdown_table(run.tables["evaluations"], digits=3),
        tables={"evaluations": runs.Table(columns, tuple(rows), caption)},
    )


def input_shape(model: DiffusionModel, batch: int) -> tuple[int, ...]:
    """The shape of what the network itself takes, whose channels statistics may have added to."""
    images = jax.ShapeDtypeStruct((batch, *model.data_shape), jnp.float32)
    return jax.eval_shape(model.precondition.inputs, images, jnp.ones(())).shape


def of_jax(
    config: Config, model: DiffusionModel, shape: tuple[int, ...]
) -> tuple[float, float, float | None]:
    """Seconds, TFLOP/s and share of the chip's peak."""
    network = model.network.clone(dtype="bfloat16")
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), model.params)
    x, t = drawn(jax.ShapeDtypeStruct(shape, jnp.bfloat16)), jnp.full(shape[0], 0.5)
    told = network.condition_spec()
    of_batch = lambda leaf: jax.ShapeDtypeStruct((shape[0], *leaf.shape), leaf.dtype)
    cond = None if told is None else drawn(jax.tree.map(of_batch, told))
    evaluate = jax.jit(lambda params, *given: network.apply({"params": params}, *given))
    lowered = evaluate.lower(params, x, t, cond)
    program = lowered.compile()
    seconds = timed(functools.partial(program, params, x, t, cond), config.repeats)
    rate = Cost.of(lowered, compiled=program).flops / seconds
    chip = CHIPS.get(jax.local_devices()[0].device_kind)
    return seconds, rate / 1e12, None if chip is None else rate / chip.flops


def of_torch(
    config: Config, network: Network, shape: tuple[int, ...], count: int
) -> Iterator[tuple[str, float]]:
    """Name and seconds of PyTorch's ways to evaluate the twin of a network of `count` parameters.

    Raises ValueError where the twin has another number of them.
    """
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cudnn.benchmark = True
    torch.manual_seed(0)
    with torch.device(device):
        net = twin(network, shape).eval().to(torch.bfloat16, memory_format=torch.channels_last)
        found = sum(parameter.numel() for parameter in net.parameters())
        if found != count:
            raise ValueError(f"The network has {count:,} parameters here, {found:,} in PyTorch.")
        given = torch_inputs(torch, net, shape[0])
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None

    def seconds(net: Callable) -> float:
        def run() -> None:
            with torch.inference_mode():
                net(**given)
            wait()

        for _ in range(3):
            run()
        return timed(run, config.repeats)

    yield "PyTorch", seconds(net)
    if config.compiled:
        yield "PyTorch, compiled", seconds(torch.compile(net))


def twin(network: Network, shape: tuple[int, ...]) -> Any:
    """The network of diffusers that is this one behind its patch stem, with random weights.

    shape: of the input, stem included.
    """
    import diffusers

    _, size, _, channels = shape
    if not isinstance(network, UNet):
        kind = diffusers.UNet2DConditionModel
        named = inspect.signature(kind).parameters
        fields = [field.name for field in dataclasses.fields(network) if field.name in named]
        return kind(sample_size=size, **{name: getattr(network, name) for name in fields})
    simple = network.clone(resblock_updown=False, learn_sigma=False)
    options, _ = to_diffusers(simple, {}, in_channels=channels, size=size)
    if network.resblock_updown:
        for way, kind in (("down", "ResnetDownsampleBlock2D"), ("up", "ResnetUpsampleBlock2D")):
            blocks = options[f"{way}_block_types"]
            plain = "DownBlock2D" if way == "down" else "UpBlock2D"
            options[f"{way}_block_types"] = tuple(kind if b == plain else b for b in blocks)
            options[f"{way}sample_type"] = "resnet"
    options["out_channels"] *= 1 + network.learn_sigma
    return diffusers.UNet2DModel(**options)


def torch_inputs(torch: Any, net: Any, batch: int) -> dict[str, Any]:
    """Random inputs of a network of diffusers."""
    options, half = net.config, torch.bfloat16
    size = (options.sample_size, options.sample_size)
    x = torch.randn(batch, options.in_channels, *size, dtype=half)
    given = {"sample": x.to(memory_format=torch.channels_last), "timestep": torch.ones(batch)}
    if "cross_attention_dim" in options:
        words = torch.randn(batch, 77, options.cross_attention_dim, dtype=half)
        given["encoder_hidden_states"] = words
        if options.addition_embed_type is not None:
            pooled = torch.randn(batch, 1280, dtype=half)
            given["added_cond_kwargs"] = {"text_embeds": pooled, "time_ids": torch.ones(batch, 6)}
    return given


if __name__ == "__main__":
    parallel.keep_compiled()
    main(cli(Config))
