"""The founding pair anew: fives and sevens of few groups, trained in the seconds that are given.

    python experiments/flagship.py --seconds 540     # on a GPU; killed and begun again, it goes on
    python experiments/flagship.py --only five       # the models of one digit: one a process

Each model is trained from scratch with few groups of normalisation (`five`, `seven`), and goes on
for a while off the noisy shell (`five-off-shell`, `seven-off-shell`), as an encoder needs; fives,
which this pair encodes, with more such images than sevens, which it decodes. How many steps that is
follows from a trial's speed and is written down first, so that what is begun again does the same.
Then training images are translated by the plain pair, with the encoder alone off the shell, and
with both, there and back, and judged: the proportion of the target's class, the hue and the Frechet
distance. Nothing is chosen by test images here. Models, previews and the table lie in
`runs/flagship/`.
"""

import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import jax

import ddib_jax
from ddib_jax import parallel, runs
from ddib_jax.bridge import DDIB, Bridge
from ddib_jax.data.png import write_sheet
from ddib_jax.evaluation import classify, evaluate
from ddib_jax.files import drafted_file
from ddib_jax.options import cli
from ddib_jax.report import markdown_table
from ddib_jax.solvers import get_solver
from ddib_jax.training import read_log
from study import RUNS, Study, load_classifier

METRICS = ("called_target", "hue_error", "hue_error_p90", "frechet", "frechet_real")
PAIRS = (
    ("five", "seven"),
    ("five-off-shell", "seven"),
    ("five-off-shell", "seven-off-shell"),
    ("seven-off-shell", "five-off-shell"),
)
"""Models that translate, source and target; in the last two each serves both directions."""
DIGITS = {"five": 5, "seven": 7}
_USABLE = 0.95
"""Of the seconds that compiling and starting leave, those for steps."""


@dataclass(frozen=True)
class Config:
    """Train the pair within a time, and judge it on training fives."""

    seconds: float = 540.0
    """For the trials and all trainings; judging comes on top."""
    only: Literal["five", "seven"] | None = None
    """Train the models of one digit and stop: one a process."""
    groups: int = 4
    """Of channels that the networks normalise together."""
    off_shell: tuple[float, float] = (0.5, 0.1)
    """Share of the images shown with less noise, in the second phase of fives and of sevens."""
    second_phase: float = 0.2
    """Share of a model's seconds for that phase."""
    batch_size: int = 256
    learning_rate: float = 1e-3
    second_rate: float = 3e-4
    """Learning rate of the second phase."""
    reference: int = 8192
    """Training images that targets are averaged over."""
    preconditioning: str = "wiener"
    model_channels: int = 32
    channel_mult: tuple[int, ...] = (1, 2, 4)
    num_res_blocks: int = 1
    attention_resolutions: tuple[int, ...] = (8, 4)
    patch_size: int = 2
    steps_per_call: int = 8
    """Training steps that run as one program."""
    trial: int = 240
    """Steps of the trial, whose speed counts from its second half."""
    count: int = 512
    """Training images that are judged."""
    ode_steps: int = 20
    """Of unipc-3, each way."""
    out: Path = RUNS / "flagship"


def main(config: Config) -> Path | None:
    """Train what is not trained yet, judge; returns the path of the page."""
    # The run lies beside the models, in a folder of its own.
    home = replace(config, out=config.out / runs.FOLDER)
    study = Study("flagship", "Few groups, and an encoder trained off the noisy shell", home)
    digits = [config.only] if config.only else list(DIGITS)
    for digit, share in zip(DIGITS, config.off_shell, strict=True):
        if digit not in digits:
            continue
        steps = planned(config, digit, config.seconds / len(digits))
        trained(config, digit, digit, steps["first"])
        second = {"off_shell": share, "init": str(config.out / digit)}
        second["learning_rate"] = config.second_rate
        trained(config, digit, f"{digit}-off-shell", steps["second"], **second)
    if config.only:
        return None
    rows = judged(config)
    columns = ("source", "target", *METRICS)
    return study.publish(
        shown=lambda run: markdown_table(run.tables["pairs"], digits=3),
        tables={"pairs": runs.Table(columns, tuple(rows), "Training images translated")},
    )


def planned(config: Config, digit: str, seconds: float) -> dict[str, int]:
    """The steps of both phases of a digit: of an earlier start, or by the speed of a trial."""
    path = config.out / f"plan-{digit}.json"
    if path.exists():
        return json.loads(path.read_text())
    clock = time.perf_counter()
    trained(config, digit, f"trial-{digit}", config.trial)
    log = read_log(config.out / f"trial-{digit}" / "training" / "log.jsonl")
    speed, took = log[-1]["steps_per_second"], time.perf_counter() - clock
    # Each phase compiles and starts as the trial did.
    around = max(0.0, took - config.trial / speed)
    steps = speed * _USABLE * max(0.0, seconds - took - 2 * around)
    whole = lambda share: (
        max(1, round(share * steps / config.steps_per_call)) * config.steps_per_call
    )
    plan = {"first": whole(1 - config.second_phase), "second": whole(config.second_phase)}
    with drafted_file(path) as draft:
        draft.write_text(json.dumps(plan))
    print(f"{digit}: {speed:.3g} steps a second in the trial, {took:.0f} s: {plan}", flush=True)
    return plan


def trained(config: Config, digit: str, name: str, steps: int, **more: Any) -> None:
    """Train a model of a digit to `out`/`name`, unless it is there; a killed one goes on."""
    home = config.out / name
    if (home / "model.json").exists():
        return
    names = ("batch_size", "learning_rate", "reference", "groups", "model_channels", "channel_mult")
    names += (
        "preconditioning",
        "num_res_blocks",
        "attention_resolutions",
        "patch_size",
        "steps_per_call",
    )
    options = {key: value for key, value in asdict(config).items() if key in names} | more
    every = max(config.steps_per_call, steps // 4)
    training = ddib_jax.Training(
        steps=steps,
        warmup=max(1, min(200, steps // 10)),
        noise_mean=0.5,
        noise_std=1.4,
        sigma_min=0.1,
        float16_weights=True,
        log_every=max(config.steps_per_call, min(100, steps // 2)),
        checkpoint_every=every,
        preview_every=steps,
        **options,
    )
    source = ddib_jax.load_dataset(digit, split="train")
    ddib_jax.train(source, training, home, name=digit)


def judged(config: Config) -> list[tuple]:
    """A row for each of `PAIRS`, and a picture of its first translations."""
    load = lambda digit: ddib_jax.load_dataset(digit, split="train")
    images = {digit: load(digit).take(range(config.count)) for digit in DIGITS}
    classifier, solver = load_classifier(), get_solver("unipc-3")
    others = {digit: load(digit).take(range(config.count, 3 * config.count)) for digit in DIGITS}
    features = {digit: classify(classifier, images)[1] for digit, images in others.items()}
    rows = []
    for names in PAIRS:
        halves = [
            Bridge.over(ddib_jax.load(config.out / name), steps=config.ode_steps, solver=solver)
            for name in names
        ]
        source, target = (name.partition("-")[0] for name in names)
        made = ddib_jax.translate(DDIB(*halves), images[source], key=jax.random.key(0))
        samples = {"source": images[source], "translation": made, "target_class": DIGITS[target]}
        samples["target_features"] = features[target][: config.count]
        samples["target_pool_features"] = features[target][config.count :]
        logits, found = classify(classifier, made)
        samples |= {"translation_logits": logits, "translation_features": found}
        measured = {row.name: row.value for row in evaluate(samples)}
        rows.append((*names, *(float(measured[name]) for name in METRICS)))
        write_sheet(config.out / f"{'-to-'.join(names)}.png", images[source][:16], made[:16])
        print(*rows[-1], flush=True)
    return rows


if __name__ == "__main__":
    parallel.keep_compiled()
    main(cli(Config))
