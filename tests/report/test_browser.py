"""Pages in a browser: sliders and arrow keys do what they say, and nothing is fetched."""

import re

import pytest

from ddib_jax.report import EXPLORER, write_report
from ddib_jax.runs import write_run
from tests.report.test_work import swept, translated


@pytest.fixture
def opened(browser):
    """Opens a file; the page, in which errors and requests for anything else fail the test."""
    asked, errors, pages = [], [], []

    def open_file(path, *, width=1280, height=900):
        page = browser.new_page(viewport={"width": width, "height": height})
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
        page.goto(path.as_uri())
        pages.append(page)
        return page

    yield open_file
    for page in pages:
        page.close()
    assert errors == []
    assert sum(url.startswith("file:") for url in asked) == len(pages)
    assert {url.partition(":")[0] for url in asked} <= {"file", "data"}


@pytest.fixture
def explorer(tmp_path):
    return write_report(write_run(tmp_path / "run", swept(n=3, k=3))).with_name(EXPLORER)


def shown(page):
    """Coefficient, image and the picture of the translation that an explorer shows."""
    texts = [page.locator(name).inner_text() for name in ("#value", "#name")]
    return (*texts, page.locator("#translation").get_attribute("src"))


def test_arrow_keys_lead_through_coefficients_and_images(opened, explorer):
    page = opened(explorer)
    start = shown(page)
    assert start[:2] == ("0", '<b>"mine"</b> & 1 (1 of 3)')
    page.keyboard.press("ArrowRight")
    right = shown(page)
    assert right[0] == "0.5"
    assert right[2] != start[2]
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    assert shown(page)[0] == "1", "it stops at the last"
    page.keyboard.press("ArrowDown")
    assert shown(page)[:2] == ("1", "image 1 (2 of 3)")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowLeft")
    assert shown(page) == right


def test_sliders_and_thumbnails_lead_there_too(opened, explorer):
    page = opened(explorer)
    page.locator("#coefficient").fill("2")
    page.locator("#image").fill("1")
    there = shown(page)
    assert there[:2] == ("1", "image 1 (2 of 3)")
    page.locator("#coefficient").focus()
    page.keyboard.press("ArrowLeft")
    assert shown(page)[0] == "0.5", "one step, also where the slider has the focus"
    page.locator("#images button").nth(2).click()
    page.locator("#coefficients button").nth(0).click()
    assert shown(page)[:2] == ("0", "image 2 (3 of 3)")
    for row, chosen in (("#images", 2), ("#coefficients", 0)):
        states = page.locator(f"{row} button").evaluate_all(
            "all => all.map(button => button.getAttribute('aria-pressed'))"
        )
        assert states == ["true" if index == chosen else "false" for index in range(3)]
    assert "standard deviation 1" in page.locator("#figures").inner_text()


def part_seen(page, index):
    """The per cent of the source that a pair shows."""
    style = page.locator(".split").nth(index).get_attribute("style") or ""
    return int(re.search(r"--at: (\d+)%", style)[1])


def test_a_pair_is_parted_by_keys_pointer_and_all_at_once(opened, tmp_path):
    page = opened(write_report(write_run(tmp_path / "run", translated())))
    assert [part_seen(page, index) for index in range(3)] == [50, 50, 50]
    slider = page.locator(".split input").nth(1)
    slider.focus()
    page.keyboard.press("ArrowRight")
    assert [part_seen(page, index) for index in range(3)] == [50, 51, 50]
    box = slider.bounding_box()
    page.mouse.click(box["x"] + 0.9 * box["width"], box["y"] + box["height"] / 2)
    assert 80 <= part_seen(page, 1) <= 100
    page.locator("input[data-all]").fill("10")
    assert [part_seen(page, index) for index in range(3)] == [10, 10, 10]


@pytest.mark.parametrize("width", [1280, 390])
def test_no_page_is_wider_than_its_window(opened, explorer, tmp_path, width):
    other = write_report(write_run(tmp_path / "other", translated()))
    for path in (explorer, explorer.with_name("index.html"), other):
        page = opened(path, width=width)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
