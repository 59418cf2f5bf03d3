"""Seconds of a translation here and in diffusers, on the same weights and at the same error.

    python experiments/benchmark.py

The shipped networks are written as diffusers' `UNet2DModel`s (`pretrained/diffusers_unet.py`),
their patch stem and Wiener statistics in torch around them, and their noise levels as a table of
1,000; so both sides evaluate the same denoiser. diffusers inverts by `DDIMInverseScheduler` or
`DPMSolverMultistepInverseScheduler` and decodes by the scheduler of that name. Every method takes
the fewest steps whose round trip is good to 1e-2, and to 1e-3; then all are timed in turn, and the
medians compared. Needs the extra `parity`; says so and ends where it is not installed.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

import ddib_jax
from ddib_jax import Bridge
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.metrics import pooled_relative_rmse
from ddib_jax.options import cli
from ddib_jax.pretrained.diffusers_unet import to_diffusers
from ddib_jax.solvers import Adaptive, Solver, get_solver
from study import FIRST_PAIR

LADDER = (5, 10, 15, 20, 30, 50, 75, 100, 150, 200, 300, 500, 1000)
TABLE = 1000


@dataclass(frozen=True)
class Config:
    """Time translations of the first pair here and in diffusers."""

    source: str = FIRST_PAIR[0]
    target: str = FIRST_PAIR[1]
    count: int = 16
    """Images, translated as one batch."""
    errors: tuple[float, ...] = (1e-2, 1e-3)
    solvers: tuple[str, ...] = (
        "ddim",
        "heun",
        "rk4",
        "dpmpp-2m",
        "dpmpp-3m",
        "o-belm",
        "rex-midpoint",
    )
    repeats: int = 3


@dataclass(frozen=True)
class Contender:
    """A way of translating; its functions take a number of steps."""

    name: str
    round_trip: Callable[[int], np.ndarray]
    translate: Callable[[int], np.ndarray]
    evaluations: Callable[[int], int]
    """Network evaluations each way."""


def main(config: Config) -> str:
    """Run the benchmark; returns the tables in Markdown, which it also prints."""
    try:
        import diffusers
        import torch
    except ImportError as error:
        words = f"Skipped: {error.name} is not installed; pip install 'ddib_jax[parity]'."
        print(words)
        return words
    source, target = ddib_jax.load(config.source), ddib_jax.load(config.target)
    images = ddib_jax.load_dataset("five", split="test").take(range(config.count))
    twins = [twin(torch, diffusers, model) for model in (source, target)]
    print(
        f"torch {torch.__version__} on {torch.get_num_threads()} threads, diffusers"
        f" {diffusers.__version__}, jax {jax.__version__}",
        flush=True,
    )
    lines = [*speed(torch, source, twins[0], images, config.repeats), ""]

    truth = reference(source, target, images)
    ours = [of_ours(name, source, target, images) for name in config.solvers]
    theirs = [
        of_theirs(torch, diffusers, kind, twins, source, images)
        for kind in ("DDIM", "DPMSolverMultistep")
    ]
    heads = (
        "Round trip",
        "Method",
        "Steps",
        "Evaluations each way",
        "Error reached",
        "Translation, RMSE to the reference",
        "Seconds",
        "Faster than DDIM of diffusers",
    )
    lines += [row(heads), row(["---"] * len(heads))]
    for error in config.errors:
        trials = [(method, *fewest(method, images, error)) for method in (*theirs, *ours)]
        successes = [(method, steps) for method, steps, reached in trials if reached <= error]
        seconds: dict[str, list[float]] = {method.name: [] for method, _ in successes}
        for _ in range(config.repeats):
            for method, steps in successes:
                seconds[method.name].append(clocked(partial(method.translate, steps)))
        medians = {name: statistics.median(times) for name, times in seconds.items()}
        baseline = medians.get(theirs[0].name)
        for method, steps, reached in trials:
            distance = float(np.sqrt(np.mean((method.translate(steps) - truth) ** 2)))
            own = medians.get(method.name)
            time_cell = "not reached" if own is None else f"{own:.2f}"
            compared = own is not None and baseline is not None
            cells = [
                f"{error:g}",
                method.name,
                steps,
                method.evaluations(steps),
                f"{reached:.1e}",
                f"{distance:.3f}",
                time_cell,
                f"{baseline / own:.1f} x" if compared else "–",
            ]
            lines.append(row(cells))
            print(lines[-1], flush=True)
    print("\n" + "\n".join(lines))
    return "\n".join(lines)


def row(cells) -> str:
    """A line of a Markdown table."""
    return f"| {' | '.join(map(str, cells))} |"


def clocked(run: Callable) -> float:
    """Wall time of a call, in seconds."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def fewest(method: Contender, images: np.ndarray, error: float) -> tuple[int, float]:
    """The fewest steps whose round trip is as good as `error`, else the most; and its error."""
    for steps in LADDER:
        reached = pooled_relative_rmse(method.round_trip(steps), images)
        if reached <= error:
            break
    return steps, reached


def speed(torch, model: DiffusionModel, twin, images: np.ndarray, repeats: int) -> list[str]:
    """Evaluations a second of the same network here and in torch, in its better memory format.

    Both take turns; compile time is apart.
    """
    x, sigma = jnp.asarray(images), jnp.asarray(2.0)
    start = time.perf_counter()
    denoise = jax.jit(lambda model, x, sigma: model.denoise(x, sigma))
    compiled = denoise.lower(model, x, sigma).compile()
    compiling = time.perf_counter() - start
    tensor = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
    runs = {
        "jax": lambda: jax.block_until_ready(compiled(model, x, sigma)),
        "contiguous": partial(twin, tensor, 2.0),
        "channels last": partial(twin, tensor.contiguous(memory_format=torch.channels_last), 2.0),
    }
    answer = runs["contiguous"]().numpy().transpose(0, 2, 3, 1)
    gap = float(np.abs(answer - np.asarray(runs["jax"]())).max())
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(10 * repeats):
        for name, run in runs.items():
            times[name].append(clocked(run))
    medians = {name: statistics.median(seconds) for name, seconds in times.items()}
    best = min(medians["contiguous"], medians["channels last"])
    return [
        f"One evaluation of the same network, {len(images)} images: {1e3 * medians['jax']:.1f} ms"
        f" here (compiled once, in {compiling:.1f} s), {1e3 * best:.1f} ms in torch:"
        f" {best / medians['jax']:.2f} of torch's evaluations per second. Largest difference of the"
        f" two answers: {gap:.1e}."
    ]


def reference(source: DiffusionModel, target: DiffusionModel, images: np.ndarray) -> np.ndarray:
    """The translation by diffrax's Dopri8."""
    return np.asarray(across(*bridges(source, target, Adaptive("dopri8", 1e-6, 1e-6), 1), images))


def bridges(
    source: DiffusionModel, target: DiffusionModel, solver: Solver, steps: int
) -> list[Bridge]:
    """The bridges of both models on the log-uniform grid."""
    return [
        Bridge.over(model, steps=steps, grid="log-uniform", solver=solver)
        for model in (source, target)
    ]


@jax.jit
def across(here: Bridge, there: Bridge, images) -> jax.Array:
    """The translation; the auxiliary state of a reversible solver is handed on."""
    up = here.solve(images, rising=True)
    return there.solve(up.y / here.scale * there.scale, rising=False, aux=up.aux).y


def of_ours(
    name: str, source: DiffusionModel, target: DiffusionModel, images: np.ndarray
) -> Contender:
    """A solver of ours on the log-uniform grid; a reversible one keeps its auxiliary state."""
    solver = get_solver(name)

    def translate(steps):
        return np.asarray(across(*bridges(source, target, solver, steps), images))

    def round_trip(steps):
        translate(steps)  # compiled now, not when it is timed
        return np.asarray(across(*bridges(source, source, solver, steps), images))

    return Contender(
        name + ("" if solver.inverse is None else " + aux"),
        round_trip,
        translate,
        solver.evaluations,
    )


def twin(torch, diffusers, model: DiffusionModel) -> Callable:
    """The denoiser of `model` in torch around diffusers' network: (x [b c h w], sigma) -> D."""
    inner, precondition = model.network, model.precondition
    options, state = to_diffusers(
        inner, model.params, in_channels=2 * model.data_shape[-1], size=model.data_shape[0]
    )
    network = diffusers.UNet2DModel(**options).eval()
    network.load_state_dict({name: torch.tensor(leaf) for name, leaf in state.items()})
    channels_first = lambda leaf: torch.tensor(np.moveaxis(np.asarray(leaf), -1, -3).copy())
    mean = channels_first(precondition.mean)[None]
    basis = channels_first(precondition.directions).flatten(1)
    variances = torch.tensor(np.asarray(precondition.variances))
    rest, p = float(precondition.rest), inner.patch_size
    size, count = mean.numel(), len(variances)
    spread = float((variances.sum() + (size - count) * rest) / size) ** 0.5

    def pack(x):  # (h p) (w p) c -> h w (p p c), channels of a pixel last
        b, c, h, w = x.shape
        return (
            x.reshape(b, c, h // p, p, w // p, p)
            .permute(0, 3, 5, 1, 2, 4)
            .reshape(b, p * p * c, h // p, w // p)
        )

    def unpack(x):
        b, c, h, w = x.shape
        return (
            x.reshape(b, p, p, c // p**2, h, w)
            .permute(0, 3, 4, 1, 5, 2)
            .reshape(b, c // p**2, h * p, w * p)
        )

    @torch.no_grad()
    def denoise(x, sigma: float):
        centred, square = x - mean, sigma**2
        flat = centred.flatten(1)
        low = rest / (rest + square)
        gains = variances / (variances + square) - low
        filtered = (low * flat + (gains * (flat @ basis.T)) @ basis).reshape(x.shape)
        remaining = (variances * square / (variances + square)).sum()
        remaining = remaining + (size - count) * rest * square / (rest + square)
        scale = float(remaining / size) ** 0.5
        inputs = torch.cat([centred / (square + spread**2) ** 0.5, filtered / spread], dim=1)
        # As a tensor, for diffusers would cut a plain number to an integer.
        level = torch.tensor([np.log(sigma) / 4 * inner.time_scale], dtype=torch.float32)
        return mean + filtered + scale * unpack(network(pack(inputs), level).sample)

    return denoise


def of_theirs(
    torch, diffusers, kind: str, twins: list[Callable], model: DiffusionModel, images: np.ndarray
) -> Contender:
    """diffusers' scheduler `kind` and its inverse, on a table of noise levels even in log sigma."""
    sigmas = np.geomspace(*model.schedule.sigma_range, TABLE)
    bars = 1 / (1 + sigmas**2)
    betas = 1 - bars / np.concatenate([[1.0], bars[:-1]])
    options = {"num_train_timesteps": TABLE, "trained_betas": betas}
    own = {
        "DDIM": {"clip_sample": False, "set_alpha_to_one": False},
        "DDIMInverse": {"clip_sample": False, "set_alpha_to_one": False},
    }
    own["DPMSolverMultistep"] = {"final_sigmas_type": "sigma_min"}
    scale = float(np.sqrt(bars[0]))
    first = torch.from_numpy(images.transpose(0, 3, 1, 2).copy()) * scale

    @torch.no_grad()
    def run(name: str, denoise: Callable, x, steps: int):
        scheduler = getattr(diffusers, f"{name}Scheduler")(**options, **own.get(name, {}))
        scheduler.set_timesteps(steps)
        for t in scheduler.timesteps:
            level = min(max(int(t), 0), TABLE - 1)
            clean = x / np.sqrt(bars[level])
            eps = (clean - denoise(clean, float(sigmas[level]))) / sigmas[level]
            x = scheduler.step(eps.to(x.dtype), t, x).prev_sample
        return x

    def translated(denoise: Callable, steps: int) -> np.ndarray:
        latent = run(f"{kind}Inverse", twins[0], first, steps)
        return run(kind, denoise, latent, steps).numpy().transpose(0, 2, 3, 1) / scale

    return Contender(
        f"diffusers, {kind}",
        partial(translated, twins[0]),
        partial(translated, twins[1]),
        lambda steps: steps,
    )


if __name__ == "__main__":
    main(cli(Config))
