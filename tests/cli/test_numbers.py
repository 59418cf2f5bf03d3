"""Every number of every option of every command is checked at its borders, in one sentence."""

import dataclasses
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from ddib_jax.cli import parse
from ddib_jax.cli.registry import COMMANDS

NEEDED = {
    "translate": "five --out out",
    "sweep": "five --source five --target seven --perturb blur --out out",
    "encode": "five --model five --out out.npz",
    "decode": "latents.npz --model five --out out",
    "sample": "--model five --out out",
    "bases": "--model five --out out.npz",
    "condition": "edges five --out out",
    "colours": "a.png --like b.png --out c.png",
    "train": "--data five --out out",
    "train-classifier": "--out out",
    "train-cyclegan": "--a five --b seven --out out",
    "train-dcgan": "--data five --out out",
    "lab": "",
    "diagnose": "five",
    "evaluate": "here there",
    "distill": "--source five --target seven --data five --out out",
    "tune": "--source five --target seven --data five --out grid.json",
    "plan": "",
    "convert": "five --to ddib --out out",
}
"""The arguments that a command must have."""
HUGE = "1" + 40 * "0"


def numbers(options):
    """The options of a dataclass, and of those within it, that are numbers, by their flags."""
    plain, marked = get_type_hints(options), get_type_hints(options, include_extras=True)
    for field in dataclasses.fields(options):
        kind = plain[field.name]
        if dataclasses.is_dataclass(kind):
            yield from numbers(kind)
            continue
        kinds = {kind, *get_args(kind)} | {a for part in get_args(kind) for a in get_args(part)}
        if kinds & {int, float} and bool not in kinds and Path not in kinds:
            marks = getattr(marked[field.name], "__metadata__", ())
            named = [mark.name for mark in marks if getattr(mark, "name", None)]
            yield f"--{(named or [field.name])[0].replace('_', '-')}", int in kinds


OPTIONS = [
    pytest.param(name, flag, whole, id=f"{name} {flag}")
    for name in COMMANDS
    for flag, whole in numbers(COMMANDS[name].load())
]


def refused(name, flag, word, capsys):
    """Whether a value is refused: in words that name the option, and with exit code 2."""
    code = None
    try:
        parse([name, *NEEDED[name].split(), flag, word])
    except SystemExit as stop:
        code = stop.code
    said = capsys.readouterr().err
    assert code is None or (code == 2 and flag in said and "Traceback" not in said), said
    return code == 2


@pytest.mark.slow
@pytest.mark.parametrize(("name", "flag", "whole"), OPTIONS)
def test_no_option_takes_what_is_no_number(name, flag, whole, capsys):
    for word in ("nan", HUGE, "few"):
        assert refused(name, flag, word, capsys), word
    if whole:
        assert refused(name, flag, "0.5", capsys)


SIGNED = {
    "--dice",
    "--noise-mean",
    "--source-guidance",
    "--target-guidance",
    "--guidance",
    "--coefficients",
    "--effort",
}
"""Numbers that may be negative."""
FROM_ZERO = {
    "--overlap",
    "--warmup",
    "--weight-decay",
    "--ema-decay",
    "--seed",
    "--reference",
    "--label-dropout",
    "--off-shell",
    "--num-res-blocks",
    "--dropout",
    "--workers",
    "--max-skipped",
    "--decay-from",
    "--cycle",
    "--identity",
    "--pool",
    "--process",
    "--couple-strength",
    "--structure",
    "--appearance",
    "--warm-up",
    "--attention-weight",
    "--also-weight",
    "--port",
    "--refinements",
}
"""Numbers that may be zero."""

NOT_ONE = {"--trust": "2", "--false-alarms": "0.5"}
"""What numbers may be that may not be one: a deviation takes two, and a share is of others."""


@pytest.mark.slow
@pytest.mark.parametrize(("name", "flag", "whole"), OPTIONS)
def test_the_lower_border(name, flag, whole, capsys):
    zero_is_fine = flag in SIGNED | FROM_ZERO or (name, flag) == ("train-cyclegan", "--blocks")
    assert refused(name, flag, "-1", capsys) == (flag not in SIGNED)
    assert refused(name, flag, "0", capsys) != zero_is_fine
    if not zero_is_fine or flag in SIGNED:
        assert not refused(name, flag, NOT_ONE.get(flag, "1"), capsys)


@pytest.mark.parametrize("flag", ["--ema-decay", "--label-dropout", "--dropout"])
def test_the_upper_border(flag, capsys):
    assert refused("train", flag, "1", capsys)
    assert not refused("train", flag, "0.999", capsys)


def test_the_sentence(capsys):
    assert refused("train", "--steps", "0", capsys) is True
    with pytest.raises(SystemExit):
        parse(["train", "--data", "five", "--out", "o", "--channel-mult", "1", "0"])
    said = capsys.readouterr().err
    assert said == "ddib train: --channel-mult is 0; expected a number from 1 up to 65536.\n"
