"""The founding pair anew: fives and sevens of few groups, trained in the seconds that are given.

    python experiments/flagship.py --seconds 540     # on a GPU; killed and begun again, it goes on

Each model is trained from scratch with few groups of normalisation (`five`, `seven`), and goes on
for a while off the noisy shell (`five-off-shell`, `seven-off-shell`), as an encoder needs. How many
steps that is follows from a trial's speed and is written down first, so that what is begun again
does the same. Then training fives are translated by the plain pair, with the encoder alone off the
shell, and with both, and judged: the proportion called seven, the hue and the Frechet distance.
Nothing is chosen by test images here. Models, previews and the table lie in `runs/flagship/`.
"""

import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

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
PAIRS = (("five", "seven"), ("five-off-shell", "seven"), ("five-off-shell", "seven-off-shell"))
"""Models that translate, source and target; each digit serves both directions in the last."""
_USABLE = 0.85
"""Of a phase's seconds for its steps, the rest being compiling, previews and checkpoints."""


@dataclass(frozen=True)
class Config:
    """Train the pair within a time, and judge it on training fives."""

    seconds: float = 540.0
    """For the trial and all trainings; judging comes on top."""
    groups: int = 4
    """Of channels that the networks normalise together."""
    off_shell: float = 0.5
    """Share of the images shown with less noise, in the second phase."""
    second_phase: float = 0.25
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
    trial: int = 80
    """Steps of the trial, whose speed counts from its second half."""
    count: int = 512
    """Training fives that are judged."""
    ode_steps: int = 20
    """Of unipc-3, each way."""
    out: Path = RUNS / "flagship"


def main(config: Config) -> Path:
    """Train what is not trained yet, judge; returns the path of the page."""
    # The run lies beside the models, in a folder of its own.
    home = replace(config, out=config.out / runs.FOLDER)
    study = Study("flagship", "Few groups, and an encoder trained off the noisy shell", home)
    steps = planned(config)
    for digit in ("five", "seven"):
        trained(config, digit, digit, steps["first"])
        second = {"off_shell": config.off_shell, "init": str(config.out / digit)}
        second["learning_rate"] = config.second_rate
        trained(config, digit, f"{digit}-off-shell", steps["second"], **second)
    rows = judged(config)
    columns = ("source", "target", *METRICS)
    return study.publish(
        shown=lambda run: markdown_table(run.tables["pairs"], digits=3),
        tables={"pairs": runs.Table(columns, tuple(rows), "Training fives into sevens")},
    )


def planned(config: Config) -> dict[str, int]:
    """The steps of both phases of each model: of an earlier start, or by the speed of a trial."""
    path = config.out / "plan.json"
    if path.exists():
        return json.loads(path.read_text())
    clock = time.perf_counter()
    trained(config, "five", "trial", config.trial)
    log = read_log(config.out / "trial" / "training" / "log.jsonl")
    speed = log[-1]["steps_per_second"]
    left = max(config.seconds - (time.perf_counter() - clock), 0.0)
    each = _USABLE * speed * left / 2  # of two digits
    whole = lambda share: (
        max(1, round(share * each / config.steps_per_call)) * config.steps_per_call
    )
    plan = {"first": whole(1 - config.second_phase), "second": whole(config.second_phase)}
    with drafted_file(path) as draft:
        draft.write_text(json.dumps(plan))
    print(f"{speed:.3g} steps a second in the trial: {plan} steps for each model.", flush=True)
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
        preview_every=every,
        **options,
    )
    source = ddib_jax.load_dataset(digit, split="train")
    ddib_jax.train(source, training, home, name=digit)


def judged(config: Config) -> list[tuple]:
    """A row for each of `PAIRS`, and a picture of its first translations."""
    fives, sevens = (ddib_jax.load_dataset(name, split="train") for name in ("five", "seven"))
    images, real = fives.take(range(config.count)), sevens.take(range(2 * config.count))
    classifier, solver = load_classifier(), get_solver("unipc-3")
    _, features = classify(classifier, real)
    rows = []
    for names in PAIRS:
        halves = [
            Bridge.over(ddib_jax.load(config.out / name), steps=config.ode_steps, solver=solver)
            for name in names
        ]
        made = ddib_jax.translate(DDIB(*halves), images, key=jax.random.key(0))
        samples = {"source": images, "translation": made, "target_class": 7}
        samples["target_features"] = features[: config.count]
        samples["target_pool_features"] = features[config.count :]
        logits, found = classify(classifier, made)
        samples |= {"translation_logits": logits, "translation_features": found}
        measured = {row.name: row.value for row in evaluate(samples)}
        rows.append((*names, *(float(measured[name]) for name in METRICS)))
        write_sheet(config.out / f"{'-to-'.join(names)}.png", images[:16], made[:16])
        print(*rows[-1], flush=True)
    return rows


if __name__ == "__main__":
    parallel.keep_compiled()
    main(cli(Config))
