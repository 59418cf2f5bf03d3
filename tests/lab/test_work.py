"""What the page asks for: the same pixels as the library's, and no work twice."""

import io
import shlex
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from ddib_jax.cli import parse
from ddib_jax.data.png import to_bytes
from ddib_jax.lab import Shelf, Side, State, as_command, as_python, programs
from ddib_jax.lab.pictures import MOST_BYTES

pytestmark = pytest.mark.slow

PLAIN = State(steps=6)
CHAIN = State(image="1", steps=6, perturb=(("blur", 0.5), ("add-noise", 0.3), ("rotate", 0.0)))
STATES = {
    "plain": PLAIN,
    "chain": CHAIN,
    "coupled": replace(CHAIN, couple="low-pass:2", couple_strength=0.5, until=1.0),
    "before": State(steps=6, perturb=(("blur-image", 0.7), ("partial-noise", 20.0))),
    "reference": State(image="2", steps=6, perturb=(("slerp-other", 0.4),)),
}


@pytest.mark.parametrize("name", STATES)
def test_python_of_a_state_gives_its_pixels(lab, name, tmp_path, monkeypatch):
    state, scope = STATES[name], {}
    monkeypatch.chdir(tmp_path)
    if name == "reference":
        first = to_bytes(lab.image("0"))[0]
        Image.fromarray(first).save(tmp_path / "reference.png")
    exec(as_python(state, lab.origin), scope)
    # Programs of their own round otherwise: by one of 255 levels at most.
    assert furthest(lab, state, to_bytes(scope["result"])[0]) <= 1


def test_the_command_of_a_state_gives_its_pixels(lab, tmp_path, monkeypatch):
    state = STATES["coupled"]
    monkeypatch.chdir(tmp_path)
    program, *words = shlex.split(as_command(state, lab.origin))
    assert program == "ddib"
    parse(words).run()
    written = np.asarray(Image.open(tmp_path / "lab" / f"{state.image}.png"))
    assert furthest(lab, state, written) <= 1


def furthest(lab, state, pixels):
    """Levels of 255 by which pixels differ at most from those that the lab shows of a state."""
    shown = to_bytes(lab.translate(state).translation)[0]
    return np.abs(shown.astype(int) - pixels.astype(int)).max()


def test_a_command_has_what_differs_from_the_defaults(lab):
    state = replace(CHAIN, source=Side(prompt="a cat"), target=Side(guidance=2.0), seed=3)
    words = as_command(state, lab.origin)
    folder = lab.origin.words[0]
    assert words.startswith(f"ddib translate {folder} --limit 2 --source ")
    assert "--source-prompt 'a cat' --target-guidance 2.0" in words
    assert "--perturb blur=0.5 add-noise=0.3 --steps 6 --seed 3 --out lab" in words
    given = as_command(State(image="picture-0123456789abcdef"), lab.origin)
    assert given.startswith("ddib translate picture.png --source ")


def test_a_move_perturbs_and_decodes_alone(lab, monkeypatch):
    lab.translate(CHAIN)
    encoded = []
    monkeypatch.setattr(programs, "encode", lambda *args: encoded.append(args))
    moved = lab.translate(replace(CHAIN, perturb=(("blur", 0.6),)), quick=True)
    assert encoded == []
    assert np.array_equal(moved.latent, lab.translate(CHAIN).latent)
    assert not np.array_equal(moved.perturbed, moved.latent)


def test_what_stands_at_its_neutral_value_changes_nothing(lab):
    still = lab.translate(replace(PLAIN, perturb=(("blur", 0.0), ("keep-low", 1.0))))
    assert still is lab.translate(PLAIN)


def test_a_preview_has_few_steps_and_the_full_one_all(lab):
    quick, full = (lab.translate(PLAIN, quick=quick).translation for quick in (True, False))
    assert not np.array_equal(quick, full)
    few = replace(PLAIN, steps=2)
    assert lab.translate(few, quick=True) is lab.translate(few)


def test_the_row_is_the_preview_at_each_value(lab):
    values, images = lab.row(CHAIN, 1)
    assert len(values) == len(images) == 7
    for at in (0, 6):
        state = replace(CHAIN, perturb=(("blur", 0.5), ("add-noise", values[at])))
        one = lab.translate(state, quick=True).translation[0]
        np.testing.assert_allclose(images[at], one, atol=2e-5)
    values, images = lab.row(replace(PLAIN, perturb=(("local-rotation", 1.0),)), 0)
    assert values == (0, 1, 2, 3)
    assert len(images) == 4
    with pytest.raises(ValueError, match="There is no slider 5"):
        lab.row(CHAIN, 5)


def test_the_way_back_ends_near_the_image(lab):
    state = State(steps=40)
    error = np.abs(lab.back(state) - lab.image("0")).max()
    assert error < np.abs(lab.back(replace(state, steps=4)) - lab.image("0")).max()


def test_a_film_goes_up_and_down(lab):
    sigmas, up, down = lab.film(CHAIN)
    assert len(sigmas) == len(up) == len(down) == 7
    assert np.array_equal(up[0], lab.image("1")[0])
    np.testing.assert_allclose(down[-1], lab.translate(CHAIN).translation[0], atol=1e-3)
    with pytest.raises(ValueError, match="no film shows both"):
        lab.film(STATES["coupled"])


def test_errors_are_sentences(lab):
    with pytest.raises(ValueError, match="There is no image 9"):
        lab.translate(State(image="9"))
    with pytest.raises(ValueError, match="drop it again"):
        lab.translate(State(image="picture-0123456789abcdef"))
    with pytest.raises(ValueError, match="no text"):
        lab.translate(State.from_query("target-prompt=a"))
    with pytest.raises(ValueError, match="no site 'nowhere'"):
        lab.translate(replace(PLAIN, couple="inject:nowhere"))


def png(pixels):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def test_a_given_picture_is_fitted_and_kept_by_what_it_shows():
    shelf = Shelf((8, 8, 3), most=2)
    wide = np.random.default_rng(1).integers(0, 256, (16, 40, 3), np.uint8)
    word = shelf.add(png(wide), name="../../../etc/a photo.png")
    assert shelf.take(word).shape == (1, 8, 8, 3)
    assert shelf.add(png(wide)) == word
    for grey in (0, 90):
        other = shelf.add(png(np.full((8, 8), grey, np.uint8)))
    assert len(shelf) == 2
    assert shelf.take(other).shape == (1, 8, 8, 3)
    with pytest.raises(ValueError, match="drop it again"):
        shelf.take(word)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "a.png is empty."),
        (b"no picture at all", "a.png cannot be read: no known image format."),
        (
            png(np.arange(30_000).reshape(100, 100, 3).astype(np.uint8))[:300],
            "a.png cannot be read",
        ),
        (bytes(MOST_BYTES + 1), "a.png has 20 MB; pictures of up to 20 MB are read."),
        (png(np.zeros((8000, 8000), np.uint8)), "a.png cannot be read: 8000x8000"),
    ],
)
def test_a_wrong_picture_is_one_sentence(content, said):
    with pytest.raises(ValueError, match=r"[a-z]") as error:
        Shelf((8, 8, 3)).add(content, name="a.png")
    assert str(error.value).startswith(said)
    assert "ddib-lab-" not in str(error.value)
    assert "--" not in str(error.value)
