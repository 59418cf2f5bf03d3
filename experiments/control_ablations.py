"""FreeControl's settings, one changed at a time, on training digits.

    python experiments/control_ablations.py        # needs MNIST (DDIB_DATA)

White strokes on black are dressed in the ink and background of a text, as in text_guided.py. Each
row changes one setting of the first: the weight and how far it may push, where it ends, the layers
and how many directions of each, the seeds behind them, coordinates scaled or not, drift or kick,
appearance, steps and solver. Some change weight and end together, among them what text_guided.py
takes. Writes `runs/control_ablations/`.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import jax

from ddib_jax import parallel, runs
from ddib_jax.editing import Bases, FreeControl, kick, semantic_bases, warmed_up
from ddib_jax.options import Count, cli
from ddib_jax.report import markdown_table
from study import RUNS, Study, load_classifier
from text_guided import edited, measure
from text_tasks import SITES, Bench, tasks

TASK = "from white on black"
KEYS = ("up_blocks.1.attentions.0.transformer_blocks.0.attn1.key",)
"""Keys of self-attention, which the paper reads."""
FINER = ("up_blocks.1.upsamplers.0",)
"""A layer of 16 x 16 positions."""


@dataclass(frozen=True)
class Config:
    """Change FreeControl's settings one by one."""

    model: str = "captioned"
    """A shipped model or a model directory that is told captions."""
    count: Count = 16
    """Training digits."""
    names: tuple[str, ...] = ()
    """Words of the names of settings; all by default."""
    guidance: float = 3.0
    """Classifier-free guidance of the target."""
    seed: int = 0
    out: Path = RUNS / "control_ablations"


class Setting(NamedTuple):
    """How FreeControl is set; the defaults are the first row's.

    kick: the size of a kick after every step of Euler's method, in place of a drift.
    """

    structure: float = 2000.0
    until: float = 0.3
    longest: float = 1.0
    appearance: float | None = None
    sites: tuple[str, ...] = SITES
    components: int = 8
    seeds: int = 40
    normalised: bool = True
    soft: bool = True
    kick: float | None = None
    warm_up: int = 0
    steps: int = 40
    solver: str = "ddim"


SETTINGS = {
    "weight 2000, until sigma 0.3": Setting(),
    "no control": Setting(structure=0.0),
    "weight 500": Setting(structure=500.0),
    "weight 5000": Setting(structure=5000.0),
    "weight 5000, pushed twice as far": Setting(structure=5000.0, longest=2.0),
    "weight 20000": Setting(structure=20000.0),
    "weight 5000, until sigma 1, as in text_guided.py": Setting(structure=5000.0, until=1.0),
    "weight 10000, until sigma 2": Setting(structure=10000.0, until=2.0),
    "weight 20000, until sigma 4": Setting(structure=20000.0, until=4.0),
    "weight 5000, until sigma 1, 32 directions": Setting(5000.0, 1.0, components=32),
    "weight 10000, until sigma 2, a layer of 16 x 16": Setting(10000.0, 2.0, sites=FINER),
    "until sigma 0.1": Setting(until=0.1),
    "until sigma 1": Setting(until=1.0),
    "until sigma 3": Setting(until=3.0),
    "2 directions": Setting(components=2),
    "4 directions": Setting(components=4),
    "32 directions": Setting(components=32),
    "10 seeds": Setting(seeds=10),
    "100 seeds": Setting(seeds=100),
    "keys of self-attention": Setting(sites=KEYS),
    "a layer of 16 x 16": Setting(sites=FINER),
    "all three layers": Setting(sites=(*SITES, *FINER)),
    "coordinates as they are": Setting(normalised=False, structure=100.0),
    "appearance 0.2": Setting(appearance=0.2),
    "appearance 1": Setting(appearance=1.0),
    "appearance 0.2, as the code": Setting(appearance=0.2, soft=False),
    "a kick of 100": Setting(kick=100.0),
    "a kick of 1000": Setting(kick=1000.0),
    "10 steps of warm-up": Setting(warm_up=10),
    "20 steps": Setting(steps=20),
    "100 steps": Setting(steps=100),
    "dpmpp-2m": Setting(solver="dpmpp-2m"),
    "heun": Setting(solver="heun"),
}


def main(config: Config) -> Path:
    """Run the study; returns the path of its page."""
    study = Study("control_ablations", "FreeControl, one setting at a time", config)
    judge = load_classifier()
    task = tasks(split="train", count=config.count, seed=config.seed, judge=judge)[TASK]
    rows, header = [], ()
    known: dict[tuple[Any, ...], Bases] = {}
    for name, setting in SETTINGS.items():
        if config.names and not any(word in name for word in config.names):
            continue
        bench = Bench(config.model, config.guidance, setting.steps, setting.solver, "log-uniform")
        of = (setting.sites, setting.seeds, setting.steps, setting.solver)
        if of not in known:
            known[of] = bases(bench, setting)
        coupling = control(bench, known[of].leading(setting.components), setting)
        made = edited(
            bench, task, lambda _, c=coupling, u=setting.until, b=bench: b.ddib(c, u, fresh=True)
        )
        measured = measure(made, task, judge)
        header = ("setting", *(each.label for each in measured))
        rows.append((name, *(each.text for each in measured)))
        print(*rows[-1], sep=", ", flush=True)
    caption = f"{config.count} training digits, white on black, started from the same noise"
    table = runs.Table(header, tuple(rows), caption)
    return study.publish(
        shown=lambda run: markdown_table(run.tables["settings"]), tables={"settings": table}
    )


def bases(bench: Bench, setting: Setting) -> Bases:
    """Those of "a digit", with as many directions as any setting looks at."""
    most = max(each.components for each in SETTINGS.values())
    noise = jax.random.normal(jax.random.key(77), (setting.seeds, *bench.model.data_shape))
    bridge = bench.bridge(bench.guided)
    return semantic_bases(bridge, noise, sites=setting.sites, components=most, batch_size=20)


def control(bench: Bench, found: Bases, setting: Setting) -> FreeControl:
    """FreeControl as it is set."""
    coupling = FreeControl.of(
        bench.model,
        found,
        structure=setting.structure,
        appearance=setting.appearance,
        longest=setting.longest,
        normalised=setting.normalised,
        soft=setting.soft,
    )
    sigmas = bench.bridge(bench.model).sigmas
    if setting.kick is not None:
        coupling = replace(coupling, structure=kick(setting.kick, sigmas))
    if setting.warm_up:
        coupling = replace(
            coupling, structure=warmed_up(coupling.structure, sigmas, setting.warm_up)
        )
    return coupling


if __name__ == "__main__":
    parallel.keep_compiled()
    main(cli(Config))
