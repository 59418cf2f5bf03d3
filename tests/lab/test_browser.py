"""The page in a browser: what it shows is what the library computes, whatever is done to it."""

import base64
import io
import threading
import time

import numpy as np
import pytest
from PIL import Image

from ddib_jax.data.png import to_bytes
from ddib_jax.lab import Guard, Line, State, listen
from ddib_jax.lab.answers import Answers

uvicorn = pytest.importorskip("uvicorn", reason="uvicorn is not installed")


@pytest.fixture(scope="module")
def served(lab):
    """The address of a page, and its line."""
    from ddib_jax.lab.routes import make_app

    listening, line = listen("127.0.0.1", 0), Line()
    app = Guard(make_app(Answers(lab), line))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}/", line
    server.should_exit = True
    thread.join(10)


@pytest.fixture
def opened(browser, served):
    """Opens the page; errors in it and requests for anything else fail the test."""
    asked, errors, contexts = [], [], []

    def open_page(query="steps=6&perturb=blur=0", *, width=1280, height=900, **options):
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"{served[0]}?{query}")
        rest(page)
        contexts.append(context)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert errors == []
    assert all(url.startswith((served[0], "data:", "blob:")) for url in asked)


def rest(page):
    """Wait until everything that belongs to the state is there."""
    page.locator("main[aria-busy=false]").wait_for(timeout=60_000)


def pixels(page, name):
    uri = page.locator(f"#{name}").get_attribute("src")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


def test_a_drag_changes_the_picture_to_that_of_the_library(opened, lab):
    page = opened()
    before = pixels(page, "translation")
    slider = page.locator("#chain input[type=range]").first
    box = slider.bounding_box()
    page.mouse.move(box["x"] + 3, box["y"] + box["height"] / 2)
    page.mouse.down()
    for share in (0.2, 0.4, 0.6):
        page.mouse.move(box["x"] + share * box["width"], box["y"] + box["height"] / 2)
    page.get_by_text("Preview, 2 steps").wait_for()
    assert not np.array_equal(pixels(page, "translation"), before)
    page.mouse.up()
    rest(page)
    state = State.from_query(page.url.partition("?")[2])
    (name, value), *_ = state.perturb
    assert (name, state.steps) == ("blur", 6)
    assert 1 < value < 1.4
    found = lab.translate(state)
    assert np.array_equal(pixels(page, "translation"), to_bytes(found.translation)[0])
    assert np.array_equal(pixels(page, "before"), pixels(page, "image"))
    assert np.array_equal(pixels(page, "back"), to_bytes(lab.back(state))[0])
    again = opened(page.url.partition("?")[2])
    assert np.array_equal(pixels(again, "translation"), pixels(page, "translation"))


def test_keys_move_a_slider_and_undo_takes_it_back(opened):
    page = opened()
    start, before = page.url, pixels(page, "translation")
    page.locator("#chain input[type=range]").focus()
    for _ in range(40):
        page.keyboard.press("ArrowRight")
    rest(page)
    moved, after = page.url, pixels(page, "translation")
    assert "blur%3D0.4" in moved
    assert not np.array_equal(before, after)
    for _ in range(40):
        page.keyboard.press("Control+z")
    rest(page)
    assert page.url == start
    assert np.array_equal(pixels(page, "translation"), before)
    assert page.locator("#undo").is_disabled()
    page.locator("#redo").click()
    rest(page)
    assert page.url != start


def test_fifty_quick_moves_leave_no_queue(opened, served):
    page = opened()
    done = served[1].told()["done"]
    page.evaluate(
        """() => {
          const slider = document.querySelector("#chain input[type=range]");
          for (let at = 1; at <= 50; at++) {
            slider.value = at / 50;
            slider.dispatchEvent(new Event("input", { bubbles: true }));
          }
          slider.dispatchEvent(new Event("change", { bubbles: true }));
        }"""
    )
    rest(page)
    told = served[1].told()
    assert told["waiting"] == 0
    assert told["done"] - done <= 6, "a preview or two, the translation, and what follows from it"
    assert "blur%3D1" in page.url


def test_sliders_are_added_ordered_and_removed(opened):
    page = opened()
    page.locator("#more").select_option("partial-noise")
    page.locator("#add").click()
    rest(page)
    assert page.locator("#chain label").all_inner_texts() == ["partial-noise", "blur"]
    page.locator("#more").select_option("add-noise")
    page.locator("#add").click()
    rest(page)
    page.get_by_label("Earlier: add-noise").click()
    rest(page)
    assert page.locator("#chain label").all_inner_texts() == ["partial-noise", "add-noise", "blur"]
    assert page.get_by_label("Earlier: add-noise").is_disabled(), "a level comes before a latent"
    page.get_by_label("Remove: blur").click()
    rest(page)
    page.locator("#row button").nth(5).click()
    rest(page)
    assert page.locator("#row button[aria-pressed=true]").count() == 1


def test_a_dropped_picture_and_a_drawn_one(opened, tmp_path):
    page = opened()
    broken, good = tmp_path / "broken.png", tmp_path / "mine.png"
    broken.write_bytes(b"this is no picture")
    Image.fromarray(np.full((30, 50, 3), (200, 30, 90), np.uint8)).save(good)
    before = pixels(page, "translation")
    page.locator("#file").set_input_files(broken)
    page.locator("#said").wait_for(state="visible")
    said = page.locator("#said").inner_text()
    assert said == "broken.png cannot be read: no known image format."
    assert np.array_equal(pixels(page, "translation"), before)
    page.locator("#file").set_input_files(good)
    page.wait_for_url("**image=picture-**")
    rest(page)
    assert page.locator("#said").is_hidden()
    assert (pixels(page, "image") == (200, 30, 90)).all()
    page.locator("#draw").click()
    box = page.locator("#canvas").bounding_box()
    page.mouse.move(box["x"] + 60, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 150, box["y"] + 160)
    page.mouse.up()
    url = page.url
    page.locator("#use").click()
    page.wait_for_url(lambda now: now != url)
    rest(page)
    drawn = pixels(page, "image")
    assert (drawn[0, -1] == 0).all()
    assert drawn.max() > 100


@pytest.mark.parametrize("query", ["perturb=melt=1", "image=99", "image=picture-0123456789abcdef"])
def test_a_wrong_address_is_told_on_the_page(opened, browser, served, query):
    page = browser.new_page()
    page.goto(f"{served[0]}?{query}")
    page.locator("#said").wait_for(state="visible")
    assert page.locator("#said").inner_text().endswith(".")
    page.locator("#images button").first.click()
    page.locator("#translation[src]").wait_for()
    page.close()


def test_copies_are_commands_python_and_links(opened):
    page = opened("steps=6&perturb=blur=0.5")
    for name, begins in (("command", "ddib translate"), ("python", "import jax"), ("link", "http")):
        page.locator(f"#{name}").click()
        page.locator(f"#{name}:text-is('Copied')").wait_for()
        assert page.evaluate("navigator.clipboard.readText()").startswith(begins)
    saved = []
    page.on("download", lambda download: saved.append(download.suggested_filename))
    page.locator("#save").click()
    end = time.monotonic() + 10
    while len(saved) < 2 and time.monotonic() < end:
        page.wait_for_timeout(50)
    assert sorted(saved) == ["lab.json", "lab.png"]


def test_wipe_and_film(opened):
    page = opened()
    page.locator("#at").focus()
    page.keyboard.press("ArrowRight")
    assert "--at: 51%" in page.locator("#wipe").get_attribute("style")
    page.locator("#shoot").click()
    page.locator("#frame").wait_for(state="visible", timeout=30_000)
    page.locator("#moment").fill("0")
    assert np.array_equal(pixels(page, "frame"), pixels(page, "image"))
    assert page.locator("#sigma").inner_text().startswith("up, ")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_is_for_everybody(opened, width, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is missing")
    page = opened(width=width, height=800, color_scheme=scheme)
    for summary in page.locator("summary").all():
        if summary.is_visible():
            summary.click()
    page.locator("#draw").click()
    page.wait_for_timeout(400)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    # axe is put into the page, whose own policy lets in no script but its own.
    result = axe.Axe().run(page)
    assert result.response["passes"]
    assert result.response["violations"] == [], result.generate_report()
