"""The documentation's sources, without a build: pages, their width, and the gallery.

Their links, commands and Python are tested together with the README's, in test_readme.py.
"""

import re
from pathlib import Path

import pytest

from ddib_jax.perturbations import PERTURBATIONS

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGES = sorted(p for p in DOCS.rglob("*.md") if not {"_build", "generated"} & set(p.parts))
BUILT = "generated/"
WIDTH = 100

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))


def outside_fences(text: str) -> list[str]:
    """The lines of a page that stand in no fence, and not in its head."""
    text = re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL)
    return re.sub(r"^ *(`{3,}).*?^ *\1 *$", "", text, flags=re.DOTALL | re.MULTILINE).splitlines()


def fences(text: str) -> list[tuple[str, str]]:
    """The fences of a page: what they are said to be, and what they hold."""
    return re.findall(r"^ *```([^\n]*)\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE)


def toctree(page: Path) -> list[str]:
    """The pages that a page's toctrees list."""
    lists = [body for kind, body in fences(page.read_text("utf-8")) if kind.startswith("{toctree}")]
    lines = [line.strip() for body in lists for line in body.splitlines()]
    return [line for line in lines if line and not line.startswith(":")]


def test_there_is_something_to_test():
    assert len(PAGES) >= 20


@each_page
def test_listed_pages_exist(page):
    for entry in toctree(page):
        base = DOCS / entry.lstrip("/") if entry.startswith("/") else page.parent / entry
        if BUILT not in entry and "*" not in entry:
            assert base.with_name(base.name + ".md").is_file(), entry


def test_every_page_is_listed():
    entries = ((page, entry) for page in PAGES for entry in toctree(page) if "*" not in entry)
    listed = {(page.parent / f"{entry}.md").resolve() for page, entry in entries}
    left = [page for page in PAGES if page.resolve() not in listed and page != DOCS / "index.md"]
    assert [str(page.relative_to(DOCS)) for page in left] == []


@each_page
def test_lines_are_not_wide(page):
    for line in outside_fences(page.read_text("utf-8")):
        alone = line.lstrip().startswith(("|", "![")) or re.fullmatch(
            r"\s*(- )?<?https?://\S+", line
        )
        assert len(line) <= WIDTH or alone, line


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_every_perturbation_is_in_the_gallery(name):
    script = DOCS / "gallery" / f"plot_{name.replace('-', '_')}.py"
    assert script.is_file()
    assert f'"{name}"' in script.read_text("utf-8")


def test_the_gallery_has_no_other_pages():
    known = {f"plot_{name.replace('-', '_')}.py" for name in PERTURBATIONS}
    assert {script.name for script in (DOCS / "gallery").glob("plot_*.py")} == known
