"""The `ddib` command line: its overview, each command's help and examples, and how options read."""

import dataclasses
import inspect
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import get_type_hints

import docstring_parser
import pytest

from ddib_jax.cli import parse
from ddib_jax.cli.registry import COMMANDS
from ddib_jax.options import command_line

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = [
    pytest.param(name, example, id=example)
    for name, command in COMMANDS.items()
    for example in command.examples
]
GROUPS = dict.fromkeys(command.group for command in COMMANDS.values())


def without_jax(*args):
    """Run `ddib` in a process in which JAX and its libraries cannot be imported."""
    program = (
        "import sys\n"
        "for name in ('jax', 'jaxlib', 'flax', 'optax', 'orbax'): sys.modules[name] = None\n"
        "from ddib_jax.cli import main\n"
        "sys.exit(main())\n"
    )
    return subprocess.run(
        [sys.executable, "-c", program, *args],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )


def fields(options):
    """Every option of a dataclass, also of those nested in it: (class, name)."""
    hints = get_type_hints(options)
    for field in dataclasses.fields(options):
        if dataclasses.is_dataclass(hints[field.name]):
            yield from fields(hints[field.name])
        else:
            yield options, field.name


def help_texts(options):
    """Name -> help text of a dataclass's own options and of those that it inherits."""
    texts = {}
    for cls in reversed(options.__mro__[:-1]):
        for param in docstring_parser.parse_from_object(cls).params:
            texts[param.arg_name] = param.description
    return texts


def rendered_help(name, capsys):
    with pytest.raises(SystemExit) as stop:
        parse([name, "--help"])
    assert stop.value.code == 0
    return capsys.readouterr().out


def test_the_overview_needs_no_jax():
    result = without_jax("--help")
    assert (result.returncode, result.stderr) == (0, "")
    _, *groups = result.stdout.split("\n\n")
    listed = {
        block.splitlines()[0].removesuffix(":"): [
            line.split()[0] for line in block.splitlines()[1:]
        ]
        for block in groups
        if block.splitlines()[0].endswith(":")
    }
    assert listed == {
        group: [name for name, command in COMMANDS.items() if command.group == group]
        for group in GROUPS
    }
    assert all(len(line) <= 100 for line in result.stdout.splitlines())


def test_versions_need_no_jax():
    result = without_jax("--version")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("ddib_jax ")
    for library in ("Python", "jax", "flax", "numpy"):
        assert f", {library} " in result.stdout


def test_without_arguments_the_overview_is_an_error():
    result = without_jax()
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == without_jax("--help").stdout


@pytest.mark.parametrize(
    ("word", "guess"),
    [
        ("encod", " Did you mean encode or decode?"),
        ("diagnosis", " Did you mean diagnose?"),
        ("xyzzy", ""),
    ],
)
def test_an_unknown_command_is_one_sentence(capsys, word, guess):
    with pytest.raises(SystemExit) as stop:
        parse([word])
    assert stop.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    said = f"ddib: There is no command '{word}'.{guess} `ddib --help` lists them all.\n"
    assert captured.err == said


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_a_help_text(name):
    for options, field in fields(COMMANDS[name].load()):
        text = help_texts(options).get(field)
        assert text, f"{options.__name__}.{field} has no help text"
        assert text[0].isupper(), text
        assert text.rstrip().endswith((".", "...")), text


@pytest.mark.parametrize("name", COMMANDS)
def test_summary_and_docstring_are_the_same(name):
    command = COMMANDS[name]
    assert inspect.getdoc(command.load()).splitlines()[0] == command.summary


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_in_words(name, capsys):
    """No type, no empty default, and no placeholder stands where a word should."""
    text = rendered_help(name, capsys)
    for wrong in ("{None}", "STR", "(default: )", "INT [INT", "NoneType", "(default: None)"):
        assert wrong not in text
    assert all(len(line) <= 100 for line in text.splitlines())
    for example in COMMANDS[name].examples:
        for line in example.splitlines():
            assert line.strip() in text


def test_kinds_of_options_have_their_words(capsys):
    text = rendered_help("translate", capsys)
    for words in (
        "INPUT [INPUT ...]",
        "--source MODEL|none",
        "--source-class CLASS|none",
        "--solver SOLVER",
        "--batch-size INT|auto",
        "--trajectory gif|webp|none",
        "--coordinator HOST:PORT|auto|none",
    ):
        assert words in text
    assert "--data DATA" in rendered_help("train", capsys)
    assert "--channel-mult INT ..." in rendered_help("train", capsys)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "example"), EXAMPLES)
def test_examples_parse(name, example):
    program, *words = shlex.split(example.replace("\\\n", " "))
    assert program == "ddib"
    # The first is of the command itself, and others may use what it made.
    assert words[0] == name or example != COMMANDS[name].examples[0]
    assert isinstance(parse(words), COMMANDS[words[0]].load())


def translate(*words):
    return parse(["translate", "five", "--out", "out", *words])


@pytest.mark.slow
def test_options_may_be_none():
    assert translate().limit is None
    assert translate("--limit", "none").limit is None
    assert translate("--limit", "None").models.source is None
    assert translate("--limit", "3").limit == 3
    assert translate("--source", "five").models.source == "five"
    assert translate("--trajectory", "webp").trajectory == "webp"
    assert translate("--source-classifier", "guide.pt").models.source_classifier == Path("guide.pt")


def test_a_batch_is_a_number_or_auto():
    assert translate().crossing.batch_size == 64
    assert translate("--batch-size", "auto").crossing.batch_size == "auto"
    assert translate("--batch-size", "8").crossing.batch_size == 8


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--limit", "x"), "'x' is not INT|none"),
        (("--batch-size", "many"), "'many' is not INT|auto"),
        (("--trajectory", "png"), "'png' is not gif|webp|none"),
        (("--steps", "few"), "--steps"),
        (("--sovler", "heun"), "--sovler"),
    ],
)
def test_a_wrong_option_is_named(capsys, words, said):
    with pytest.raises(SystemExit) as stop:
        translate(*words)
    assert stop.value.code == 2
    assert said in " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_tuples():
    def sweep(*words):
        legs = ("--source", "five", "--target", "seven", "--perturb", "blur", "--out", "out")
        return parse(["sweep", "five", *legs, *words])

    assert sweep().coefficients is None
    assert sweep("--coefficients", "none").coefficients is None
    assert sweep("--coefficients", "0", "0.5").coefficients == (0.0, 0.5)
    assert sweep().then == ()
    assert sweep("--then", "rotate=3", "normalise").then == ("rotate=3", "normalise")
    train = parse(["train", "--data", "five", "--out", "out", "--attention-resolutions"])
    assert train.attention_resolutions == ()
    assert train.channel_mult == (1, 2, 4)
    diagnose = parse(["diagnose", "five", "a.png", "b.png", "--evaluations", "10", "20"])
    assert (diagnose.images, diagnose.evaluations) == (("a.png", "b.png"), (10, 20))
    assert parse(["diagnose", "five"]).images == ()


@pytest.mark.parametrize(
    ("program", "written"),
    [
        ("/usr/bin/ddib", "ddib"),
        ("/usr/lib/python3/site-packages/ddib_jax/cli/__main__.py", "ddib"),
        ("experiments/inversion.py", "python inversion.py"),
    ],
)
def test_a_command_is_noted_as_one_writes_it(monkeypatch, program, written):
    """That of a study, and ours however it was started (`python -m ddib_jax.cli`)."""
    monkeypatch.setattr(sys, "argv", [program, "train", "--data", "my photos"])
    assert command_line() == f"{written} train --data 'my photos'"
