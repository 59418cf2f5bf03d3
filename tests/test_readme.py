"""README.md, its neighbours and docs/: commands parse, Python compiles and runs, links resolve."""

import csv
import doctest
import functools
import re
import runpy
import shlex
import string
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ddib_jax.cli import parse
from ddib_jax.options import cli

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
GENERATED = ("docs/_build", "docs/generated", "docs/reference/api")
"""What a build of the site writes: links there may wait for it."""

SHELL = {"", "sh", "bash", "shell", "console"}
PYTHON = {"python", "py", "pycon", "{doctest}"}
PROSE = {"{note}", "{tip}", "{warning}", "{important}", "{seealso}", "{admonition}", "{dropdown}"}
"""Directives that hold text, and perhaps blocks of their own."""

MOST_LINES = 150


def generated(path: Path) -> bool:
    return path.is_relative_to(ROOT) and path.relative_to(ROOT).as_posix().startswith(GENERATED)


PAGES = [
    *(README, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"),
    *(page for page in sorted(ROOT.glob("docs/**/*.md")) if not generated(page)),
]


def fenced(text: str) -> tuple[str, list[tuple[str, str]]]:
    """A page's text outside of its fences, and the fences: (kind, code).

    The kind is the word behind the fence, or the language of a `{code-block}`. An admonition is
    text like the rest, and a figure is a picture.
    """
    prose, blocks = [], []
    fence, kind, code = "", "", []
    for line in text.splitlines():
        mark = re.match(r"\s*(`{3,}|~{3,}|:{3,})\s*(.*)", line)
        if not fence and mark:
            fence, words, code = mark[1], mark[2].split(), []
            kind = words[0] if words else ""
            if kind in ("{code-block}", "{code}"):
                kind = words[1] if len(words) > 1 else ""
            elif kind in ("{figure}", "{image}"):
                prose.append(f"![]({words[1]})")
        elif fence and mark and mark[1].startswith(fence) and not mark[2]:
            if kind in PROSE:
                inner_prose, inner_blocks = fenced("\n".join(code))
                prose.append(inner_prose)
                blocks += inner_blocks
            else:
                blocks.append((kind, "\n".join(code)))
            fence = ""
        elif fence:
            code.append(line)
        else:
            prose.append(line)
    assert not fence, f"a block of {kind or 'code'} is never closed"
    return "\n".join(prose), blocks


def shell_lines(blocks: list[tuple[str, str]]) -> list[str]:
    """The command lines of shell blocks, without prompts and comments, continued lines joined."""
    codes = [code.replace("\\\n", " ") for kind, code in blocks if kind in SHELL]
    lines = (re.split(r"\s+#", line)[0].strip() for code in codes for line in code.splitlines())
    return [line.removeprefix("$ ") for line in lines]


def links(prose: str) -> list[str]:
    """Where the page's links and pictures lead, those of other sites left out."""
    text = re.sub(r"`[^`]+`", "", prose)
    found = re.findall(r"\]\(<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\)", text)
    found += re.findall(r"(?:src|href)=\"([^\"]+)\"", text)
    return [link for link in found if not re.match(r"[a-z]+:", link)]


def anchors(page: Path) -> set[str]:
    """The anchors of a page: its headings as GitHub writes them, and MyST's `(name)=`."""
    prose, _ = fenced(page.read_text())
    titles = re.findall(r"^#+\s+(.*)$", prose, re.MULTILINE)
    punctuation = string.punctuation.replace("-", "").replace("_", "") + "–—→…“”’"
    slugs = (title.lower().translate(str.maketrans("", "", punctuation)) for title in titles)
    return {slug.strip().replace(" ", "-") for slug in slugs} | set(
        re.findall(r"^\(([\w-]+)\)=$", prose, re.MULTILINE)
    )


def commands(page: Path) -> Iterator[str]:
    """The `ddib` lines of a page; an ellipsis stands for options that are told elsewhere."""
    _, blocks = fenced(page.read_text())
    yield from (
        line for line in shell_lines(blocks) if line.startswith("ddib ") and " ..." not in line
    )


def studies(page: Path) -> Iterator[str]:
    """The `python experiments/...` lines of a page, in its blocks and in its sentences."""
    prose, blocks = fenced(page.read_text())
    spans = (" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose))
    for line in (*shell_lines(blocks), *spans):
        yield from re.findall(r"python experiments/\w+\.py[^`]*", line)


def named(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def cases(found) -> list:
    lines = [(page, line) for page in PAGES for line in dict.fromkeys(found(page))]
    return [pytest.param(line, id=f"{named(page)}: {line}") for page, line in lines]


@functools.cache
def configuration(script: str) -> type:
    return runpy.run_path(str(ROOT / script), run_name="__script__")["Config"]


def test_there_is_something_to_test():
    _, blocks = fenced(README.read_text())
    assert shell_lines(blocks)[:2] == ["./launch.sh", "./launch.sh test"]
    assert len(list(commands(README))) >= 6
    assert len(cases(studies)) >= 10


def test_readme_is_short():
    assert len(README.read_text().splitlines()) <= MOST_LINES


@pytest.mark.slow
@pytest.mark.parametrize("line", cases(commands))
def test_commands_parse(line):
    parse(shlex.split(line)[1:])


@pytest.mark.parametrize("line", cases(studies))
def test_studies_parse(line):
    _, script, *arguments = shlex.split(line)
    cli(configuration(script), args=arguments)


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_resolve(page):
    prose, _ = fenced(page.read_text())
    lost = []
    for link in links(prose):
        path, _, anchor = link.partition("#")
        place = (page.parent / path).resolve() if path else page
        if generated(place):
            continue
        if not place.exists() or (
            anchor and place.suffix == ".md" and anchor not in anchors(place)
        ):
            lost.append(link)
    assert not lost, f"{named(page)} links to what is not there: {', '.join(lost)}"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_pictures_are_there(page):
    prose, _ = fenced(page.read_text())
    pictures = re.findall(r"!\[[^\]]*\]\(([^)\s]+)\)", prose)
    assert pictures or page != README
    lost = [picture for picture in pictures if not (page.parent / picture).is_file()]
    assert not lost, f"{named(page)} shows what is not there: {', '.join(lost)}"


def test_tables_are_whole():
    """Every CSV file is linked by a page, and each of its rows has as many cells as its head."""
    linked = set()
    for page in sorted(ROOT.glob("docs/studies/*.md")):
        prose, _ = fenced(page.read_text())
        linked |= {page.parent / link for link in links(prose) if link.endswith(".csv")}
    assert linked == set(ROOT.glob("docs/studies/data/*.csv"))
    for place in sorted(linked):
        with place.open(newline="") as file:
            head, *rows = csv.reader(file)
        assert rows, place.name
        assert all(head[:-1]), place.name
        assert {len(row) for row in rows} == {len(head)}, place.name


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_python_compiles(page):
    _, blocks = fenced(page.read_text())
    for code in (code for kind, code in blocks if kind in PYTHON):
        if ">>>" in code:
            examples = doctest.DocTestParser().get_examples(code)
            code = "".join(example.source for example in examples)
        compile(code, named(page), "exec")


@pytest.mark.slow
def test_python_runs():
    _, blocks = fenced(README.read_text())
    (code,) = [code for kind, code in blocks if kind == "python"]
    lines = [line for line in code.splitlines() if line and not line.startswith("import")]
    assert len(lines) <= 5
    scope = {}
    exec(code, scope)
    assert scope["sevens"].shape == (16, 32, 32, 3)
    assert np.percentile(np.abs(scope["sevens"]), 99) < 1.25
