import dataclasses
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ddib_jax
import pages
from ddib_jax.report import markdown_table, text_table, write_report
from ddib_jax.report.tables import outcome
from ddib_jax.runs import MetricRow, read_run, write_run
from pages import LAYOUTS
from tests.report.conftest import synthetic_run

pytestmark = pytest.mark.slow

SHEETS, PLOTS = {"translations", "gallery", "failures"}, {"hue", "thickness", "latents"}
LAYOUT = LAYOUTS["coloured_mnist"]
FIGURES = SHEETS | PLOTS | {f"{name}-dark" for name in PLOTS}


@pytest.fixture(scope="module")
def page(study):
    return write_report(study, layout=LAYOUT)


class Links(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found, self.tags, self.open = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in {"meta", "img", "source", "input"}:
            self.open.append(tag)
        self.found += [
            value for key, value in attrs if key in {"src", "srcset", "href", "data", "action"}
        ]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_study_has_its_figures(study, page):
    assert page == study / "index.html"
    assert {path.stem for path in (study / "figures").glob("*.png")} == FIGURES
    for path in (study / "figures").glob("*.png"):
        with Image.open(path) as image:
            assert min(image.size) > 200
            assert len(image.convert("RGB").getcolors(1 << 24)) > 8


def test_the_page_is_whole_and_fetches_nothing(page):
    words = page.read_text("utf-8")
    links = Links()
    links.feed(words)
    assert links.open == []
    assert len(links.found) == len(FIGURES)
    assert all(link.startswith("data:image/png;base64,") for link in links.found)
    assert not {"script", "link", "iframe"} & set(links.tags)
    assert not re.search(r"https?://|@import|url\(", words)
    assert "width=device-width" in words
    assert "prefers-color-scheme: dark" in words


def test_the_page_says_what_was_measured(page):
    words = page.read_text("utf-8")
    for part in (
        "97.8 %",
        "[95.7, 98.7]",
        "≥ 97 %",
        '<span class="badge met">met</span>',
        '<span class="badge not-met">not met</span>',
        '<span class="badge undecided">undecided at n = 300</span>',
        "not measured",
        "Fréchet",
        "./launch.sh",
        "3 min 12 s",
    ):
        assert part in words
    assert words.index("Two models") < words.index("What limits it")


def test_a_run_of_another_name_is_laid_out_plainly(tmp_path):
    home = write_run(tmp_path / "run", synthetic_run(n=20, name="another"))
    words = write_report(home).read_text("utf-8")
    assert {path.name for path in (home / "figures").iterdir()} == {"images.png"}
    assert "Solvers" in words
    assert "97.8 %" in words


def test_words_of_a_run_cannot_break_the_page(tmp_path):
    run = synthetic_run(n=4, name="another")
    vars(run)["title"] = "$style <script>alert(1)</script>"
    words = write_report(write_run(tmp_path / "run", run)).read_text("utf-8")
    assert "<script>" not in words
    assert "$style &lt;script&gt;" in words


def test_a_study_where_nothing_could_be_measured_is_still_drawn(tmp_path):
    run = synthetic_run(n=5)
    unmeasured = {
        key: np.full(5, np.nan) for key in run.arrays if key.startswith(("hue", "thickness"))
    }
    vars(run)["arrays"] = run.arrays | unmeasured | {"called_target": np.ones(5, bool)}
    assert write_report(write_run(tmp_path / "run", run), layout=LAYOUT).is_file()


def test_missing_and_unlike_arrays_are_named(tmp_path, study):
    run = synthetic_run(n=5)
    whole = dict(run.arrays)
    vars(run)["arrays"] = {key: array for key, array in whole.items() if key != "hue_error"}
    with pytest.raises(ValueError, match="has no array 'hue_error'"):
        write_report(write_run(tmp_path / "a", run), layout=LAYOUT)
    vars(run)["arrays"] = whole | {"called": whole["called"][:2]}
    with pytest.raises(ValueError, match="unlike or no length"):
        write_report(write_run(tmp_path / "b", run), layout=LAYOUT)
    with pytest.raises(FileNotFoundError, match="holds no finished run"):
        write_report(tmp_path)


def test_tables_agree_with_each_other(study):
    run = read_run(study)
    markdown, text = markdown_table(run), text_table(run)
    lines = markdown.splitlines()
    assert lines[2] == (
        "| Translations called 7 | 97.8 % [95.7, 98.7] | ≥ 97 % | undecided at n = 300 |"
    )
    assert len(lines) == len(run.metrics) + 2 == len(text.splitlines())
    assert all(
        "  ".join(line.split("  ")) == line and not line.endswith(" ") for line in text.splitlines()
    )
    for row in (
        "6.21e-4 [6.02e-4, 6.40e-4]",
        "33° [25, 52]",
        "≤ 0.001",
        "beside its floor",
        "not measured",
    ):
        assert row in markdown
        assert row in text


@pytest.mark.parametrize(
    ("interval", "better", "target", "words"),
    [
        ((0.91, 0.95), "higher", 0.9, "met"),
        ((0.9, 0.95), "higher", 0.9, "met"),
        ((0.85, 0.89), "higher", 0.9, "not met"),
        ((0.88, 0.95), "higher", 0.9, "undecided at n = 40"),
        ((0.85, 0.9), "higher", 0.9, "undecided at n = 40"),
        ((0.85, 0.9), "lower", 0.9, "met"),
        ((0.91, 0.95), "lower", 0.9, "not met"),
        ((0.88, 0.95), "lower", 0.9, "undecided at n = 40"),
        ((0.9, 0.95), "lower", 0.9, "undecided at n = 40"),
        ((None, None), "higher", 0.9, "met"),
        ((None, None), "lower", 0.9, "not met"),
        ((0.88, 0.95), None, 0.9, ""),
        ((0.88, 0.95), "lower", "beside another", ""),
    ],
)
def test_a_target_is_judged_by_the_whole_interval(interval, better, target, words):
    row = MetricRow("a", "A", 0.92, *interval, better=better, target=target, n=40)
    assert outcome(row) == words
    assert outcome(dataclasses.replace(row, n=None)) == words.partition(" at ")[0]
    assert outcome(dataclasses.replace(row, value=None)) == ""


def test_badges_can_be_read():
    """WCAG's contrast of at least 4.5 between the words of every badge and its ground."""
    css = resources.files("ddib_jax.report").joinpath("page.css").read_text()

    def luminance(colour):
        channels = np.asarray([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        linear = np.where(
            channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4
        )
        return linear @ [0.2126, 0.7152, 0.0722]

    for name in ("good", "bad", "open"):
        inks = re.findall(f"--{name}: (#[0-9a-f]{{6}})", css)
        papers = re.findall(f"--{name}-paper: (#[0-9a-f]{{6}})", css)
        assert len(inks) == len(papers) == 2, "light and dark"
        for pair in zip(inks, papers, strict=True):
            dark, light = sorted(map(luminance, pair))
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (name, pair)


@pytest.mark.parametrize(
    ("row", "cell"),
    [
        (MetricRow("a", "A", 0.0, 0.0, 0.0), "0 [0, 0]"),
        (MetricRow("a", "A", 1.0, 0.9957, 1.0, "proportion"), "100.00 % [99.57, 100.00]"),
        (MetricRow("a", "A", -0.0123, -0.0241, -0.0005), "-0.012 [-0.024, -0.001]"),
        (MetricRow("a", "A", 1234.5), "1234"),
        (MetricRow("a", "A", 2.414, 2.31, 2.52, "px"), "2.41 px [2.31, 2.52]"),
    ],
)
def test_digits_are_those_the_interval_deserves(row, cell):
    run = synthetic_run(n=1)
    vars(run)["metrics"] = (row,)
    assert f"| {cell} |" in markdown_table(run)


def test_a_report_needs_no_jax(study, tmp_path):
    """A run is reported by copies of the modules that this takes, with jax made unimportable."""
    original, package = Path(ddib_jax.__file__).parent, tmp_path / "ddib_jax"
    shutil.copytree(Path(pages.__file__).parent, tmp_path / "pages")
    for room in ("report", "data"):
        ignored = shutil.ignore_patterns("__pycache__", "assets")
        shutil.copytree(original / room, package / room, ignore=ignored)
    for module in ("runs.py", "files.py"):
        shutil.copy(original / module, package / module)
    code = (
        "import sys; sys.modules['jax'] = None\n"
        "from ddib_jax.report import write_report\nfrom pages import LAYOUTS\n"
        "write_report(sys.argv[1], layout=LAYOUTS['coloured_mnist'])"
    )
    command = [sys.executable, "-c", code, str(shutil.copytree(study, tmp_path / "copy"))]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "copy" / "index.html").is_file()
