"""The directive `ddib-help`: what `ddib COMMAND --help` prints, for each command, at build time."""

import contextlib
import io
import os
import re
from unittest import mock

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from ddib_jax.cli import parse
from ddib_jax.cli.registry import COMMANDS

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_WIDTH = "84"


def help_of(name: str) -> str:
    """What `ddib NAME --help` prints, without colours, at a fixed width."""
    words = io.StringIO()
    setting = {"COLUMNS": _WIDTH, "NO_COLOR": "1", "TERM": "dumb"}
    with mock.patch.dict(os.environ, setting), contextlib.redirect_stdout(words):
        try:
            parse([name, "--help"])
        except SystemExit as end:
            if end.code:
                raise RuntimeError(f"ddib {name} --help ended with {end.code}") from end
    return "\n".join(
        line.rstrip() for line in _ANSI.sub("", words.getvalue()).strip("\n").splitlines()
    )


class DdibHelp(SphinxDirective):
    """The help of every command of `ddib_jax.cli.registry`, each in a section of its own."""

    def run(self) -> list[nodes.Node]:
        return [self._section(f"ddib {name}", f"ddib-{name}", help_of(name)) for name in COMMANDS]

    def _section(self, title: str, target: str, words: str) -> nodes.section:
        section = nodes.section(ids=[target], names=[target])
        block = nodes.literal_block(words, words, language="text")
        section += [nodes.title("", "", nodes.literal("", title)), block]
        return section


def setup(app):
    app.add_directive("ddib-help", DdibHelp)
    return {"version": "1", "parallel_read_safe": True}
