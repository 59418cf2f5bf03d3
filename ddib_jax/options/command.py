"""A dataclass of options, from a command line."""

import os
import shlex
import sys
from collections.abc import Container, Sequence
from pathlib import Path
from typing import TypeVar

import tyro

from ddib_jax.options.kinds import out_of_range, texts
from ddib_jax.options.rules import REGISTRY

Options = TypeVar("Options")


def cli(
    options: type[Options],
    *,
    args: Sequence[str] | None = None,
    prog: str | None = None,
    description: str | None = None,
) -> Options:
    """An instance of the dataclass `options` from the command line, or from `args`.

    description: shown by --help; the class's docstring unless given. Raises SystemExit: 0 after
    --help, 2 for a wrong command line, an empty word in it, and a number that is not `Within` its
    option's range.
    """
    words = [_at_home(word) for word in (sys.argv[1:] if args is None else args)]
    parsed = None
    if not (said := _empty(words, texts(options))):
        parsed = tyro.cli(
            options, args=words, prog=prog, description=description, registry=REGISTRY
        )
        said = out_of_range(parsed)
    if said or parsed is None:
        print(f"{prog or 'options'}: {said}", file=sys.stderr)
        sys.exit(2)
    return parsed


def _empty(words: Sequence[str], texts: Container[str]) -> str:
    """What is wrong where a word of a command line, or of an option's value, is empty; or "".

    A path that is empty would be the working directory. texts: options that may have it.
    """
    last = ""  # of the options, which has the words that follow it
    for before, word in zip(("", *words), words, strict=False):
        option, equals, value = word.partition("=")
        given = option.startswith("--")
        last = option if given else last
        empty = not word or (given and equals and not value)
        if empty and last.removeprefix("--").replace("-", "_") not in texts:
            of = f" of {last}" if last in (option, before) else ""
            return f"The value{of} is empty; is a variable of the shell not set?"
    return ""


def _at_home(word: str) -> str:
    """The word with a home folder's ~ in full where shells leave it, as in --out=~/folder."""
    option, equals, value = word.partition("=")
    if option.startswith("--") and equals and value.startswith("~"):
        return f"{option}={os.path.expanduser(value)}"
    return word


def command_line() -> str:
    """The command that started this process, as one writes it in a shell."""
    program = Path(sys.argv[0])
    # `python -m ddib_jax.cli` is the same command.
    ours = program.name == "ddib" or program.parts[-2:] == ("cli", "__main__.py")
    started = ["ddib"] if ours else ["python", program.name]
    return shlex.join([*started, *sys.argv[1:]])
