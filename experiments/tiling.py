"""A large picture through models of small ones: seams, and the way back.

    python experiments/tiling.py

Two models of 32 x 32 pixels are trained, one on crops of three photographs, one on crops of a
stained tissue, all of scikit-image. A photograph that neither has seen, cut to 384 x 512, goes up
the first one's ODE and down the second one's, in overlapping windows whose denoisers are averaged
at every noise level (`tiling.Tiling`), and once more in windows that do not overlap, each of them
translated by itself.

Seam energy is the mean squared difference of neighbouring pixels across the borders of windows,
over that elsewhere: 1 where no border can be seen. Beside it stands that of the photograph, at the
same places.

Then the way back by the same model: its relative error by an explicit solver, and by a lattice the
number of values that were lost. It takes some twenty minutes on one slow core, half of them for the
way back; models that are there already are not trained again.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import skimage.data
from jaxtyping import Float

import ddib_jax
from ddib_jax import DDIB, Bridge, DiffusionModel, get_solver, runs, translation
from ddib_jax.data import ALL
from ddib_jax.data.png import to_bytes
from ddib_jax.data.sources import to_float
from ddib_jax.options import cli
from ddib_jax.report import markdown_table
from ddib_jax.solvers import LatticeHeun
from study import RUNS, Study

SIDE = 32
TRAINED_ON = {
    "photographs": ("astronaut", "chelsea", "rocket"),
    "tissue": ("immunohistochemistry",),
}
TRANSLATED = "coffee"


@dataclass(frozen=True)
class Config:
    """Options of the study."""

    out: Path = RUNS / "tiling"
    height: int = 384
    width: int = 512
    crops: int = 4096
    training_steps: int = 400
    batch_size: int = 32
    steps: int = 40
    inverted_steps: int = 100
    """Steps of the explicit way back."""
    lattice_steps: int = 60
    seed: int = 0


class Crops:
    """Random crops of pictures, fixed by a seed, an `ImageSource` of bytes that are kept."""

    image_shape = (SIDE, SIDE, 3)
    labels = None
    classes = ()

    def __init__(self, pictures: list[np.ndarray], count: int, seed: int):
        rng = np.random.default_rng(seed)
        self._crops = []
        for index in range(count):
            picture = pictures[index % len(pictures)]
            y, x = (rng.integers(0, size - SIDE + 1) for size in picture.shape[:2])
            self._crops.append(picture[y : y + SIDE, x : x + SIDE])

    def __len__(self) -> int:
        return len(self._crops)

    def take(self, indices, *, rng=None, part=ALL):
        """The crops at `indices`, float32 in [-1, 1]."""
        return to_float(np.stack([self._crops[index] for index in np.asarray(indices)[part]]))


def model_of(domain: str, config: Config) -> DiffusionModel:
    """The model of a domain, trained unless it is there."""
    folder = config.out.with_name(f"{config.out.name}-models") / domain
    if (folder / "model.json").is_file():
        return ddib_jax.load(folder)
    pictures = [getattr(skimage.data, name)() for name in TRAINED_ON[domain]]
    training = ddib_jax.Training(
        steps=config.training_steps,
        batch_size=config.batch_size,
        channel_mult=(1, 2),
        attention_resolutions=(),
        reference=0,
        ema_decay=0.99,
        warmup=50,
    )
    return ddib_jax.train(Crops(pictures, config.crops, config.seed), training, folder, name=domain)


def seam_ratio(image: Float[np.ndarray, "h w c"], period: int) -> float:
    """The mean squared step across borders every `period` pixels, over the mean elsewhere."""
    across, elsewhere = [], []
    for axis in (0, 1):
        steps = np.square(np.diff(image, axis=axis)).mean(axis=(1 - axis, 2))
        border = np.arange(1, image.shape[axis]) % period == 0
        across.append(steps[border])
        elsewhere.append(steps[~border])
    return float(np.concatenate(across).mean() / np.concatenate(elsewhere).mean())


def jump_ratio(image: Float[np.ndarray, "h w c"], period: int) -> float:
    """As `seam_ratio`, of second differences: how far a step departs from those beside it."""
    across, elsewhere = [], []
    for axis in (0, 1):
        steps = np.diff(image, axis=axis)
        middle, before, after = (
            np.take(steps, np.arange(start, steps.shape[axis] - 2 + start), axis=axis)
            for start in (1, 0, 2)
        )
        jumps = np.square(middle - (before + after) / 2).mean(axis=(1 - axis, 2))
        border = np.arange(2, 2 + len(jumps)) % period == 0
        across.append(jumps[border])
        elsewhere.append(jumps[~border])
    return float(np.concatenate(across).mean() / np.concatenate(elsewhere).mean())


def main(config: Config) -> None:
    """Translate, measure, invert, write a run and its page."""
    study = Study("tiling", "A large picture through a model of small ones", config)
    size = (config.height, config.width)
    picture = to_float(getattr(skimage.data, TRANSLATED)()[: size[0], : size[1]])[None]
    source, target = (
        Bridge.over(model_of(domain, config), steps=config.steps) for domain in TRAINED_ON
    )
    rows, arrays = [], {"picture": to_bytes(picture)}
    # of windows half of which overlap, borders lie every 16 pixels
    for name, overlap, period in (("averaged", 0.5, 16), ("apart", 0.0, 32)):
        method = translation.tiled(DDIB(source, target), *size, overlap=overlap)
        start = time.perf_counter()
        found = ddib_jax.translate(method, picture)
        seconds = time.perf_counter() - start
        arrays[name] = to_bytes(found)
        steps, jumps = seam_ratio(found[0], period), jump_ratio(found[0], period)
        own = seam_ratio(picture[0], period), jump_ratio(picture[0], period)
        rows.append((f"windows {name}", steps, jumps, *own, round(seconds)))
        print(
            f"windows {name}: seam energy {steps:.3f} (second differences {jumps:.3f}), of the"
            f" source at the same places {own[0]:.3f} ({own[1]:.3f}); {seconds:.0f} s",
            flush=True,
        )
    inverted = [
        _explicit(source, picture, config.inverted_steps),
        _lattice(source, picture, config.lattice_steps),
    ]
    study.publish(
        shown=lambda run: "\n".join(map(markdown_table, run.tables.values())),
        tables={
            "seams": runs.Table(
                ("", "seam energy", "second differences", "source's", "source's second", "s"),
                tuple(rows),
                "Mean squared step across the borders of windows over that elsewhere",
            ),
            "way back": runs.Table(("", "value"), tuple(inverted)),
        },
        arrays=arrays,
    )


def _explicit(source: Bridge, picture: np.ndarray, steps: int) -> tuple[str, float]:
    bridge = Bridge.over(source.model, steps=steps, solver=get_solver("dpmpp-3m"))
    bridge = translation.tiled(bridge, *picture.shape[1:3])
    back = ddib_jax.decode(bridge, ddib_jax.encode(bridge, picture).y)
    error = float(np.linalg.norm(back - picture) / np.linalg.norm(picture))
    print(f"relative error of encode -> decode, dpmpp-3m: {error:.2e}", flush=True)
    return "relative error of encode -> decode, dpmpp-3m", error


def _lattice(source: Bridge, picture: np.ndarray, steps: int) -> tuple[str, float | str]:
    bridge = Bridge.over(source.model, steps=steps, solver=get_solver("lattice-heun"))
    bridge = translation.tiled(bridge, *picture.shape[1:3])
    try:
        up = ddib_jax.encode(bridge, picture)
    except FloatingPointError as error:  # by which a lattice says that states left it
        print(error, flush=True)
        return "values that a lattice lost", "none came back: states left it"
    down = translation.hand_on(bridge, up.aux, rising=False)
    lattice = bridge.solver
    assert isinstance(lattice, LatticeHeun)
    pairs = np.asarray(down.aux.value)
    start = np.asarray(lattice.pair(jnp.asarray(picture), bridge.sigmas[0]))
    lost = int((pairs != start).sum())
    print(f"values of {start.size} that a lattice lost: {lost}", flush=True)
    return f"values of {start.size} that a lattice lost", lost


if __name__ == "__main__":
    main(cli(Config))
