"""What studies of captions measure in an image, on digits whose looks are known."""

import colorsys
import dataclasses

import numpy as np
import pytest

from ddib_jax.data import load_dataset
from ddib_jax.data.captioned_digits import BACKGROUNDS, INKS, unseen
from ddib_jax.data.digits import Digits
from ddib_jax.metrics.digits import hue_distance
from kept import leak, self_similarity
from looks import followed, overlap, seen, taken_apart
from study import load_classifier
from text_tasks import tasks


@pytest.fixture(scope="module")
def source():
    return load_dataset("captioned:5,7", split="test")


def test_colours_are_taken_apart_from_strokes(source):
    images, looks = source.take(range(40)), source.looks.of(range(40))
    drawing = taken_apart(images)
    np.testing.assert_allclose(
        drawing.background, np.asarray(list(BACKGROUNDS.values()))[looks.background], atol=0.01
    )
    wanted = np.asarray(list(INKS.values()))[looks.ink]
    assert np.median(hue_distance(drawing.hue, wanted)) < 8
    # the same strokes in another ink on another background
    others = dataclasses.replace(source, seed=1).take(range(40))
    same_weight = looks.weight == dataclasses.replace(source, seed=1).looks.of(range(40)).weight
    kept = overlap(drawing.drawn, taken_apart(others).drawn)
    assert np.median(kept[same_weight]) > 0.8
    assert np.median(overlap(drawing.drawn, drawing.drawn[::-1])) < 0.5


def test_overlap_of_nothing_is_whole():
    nothing = np.zeros((1, 4, 4), bool)
    assert overlap(nothing, nothing) == 1
    assert overlap(nothing, ~nothing) == 0


def test_what_was_asked_for_is_recognised(source):
    looks, digits = source.looks.of(range(40)), source.labels[:40]
    found = seen(source.take(range(40)), load_classifier())
    right = followed(found, digits, looks.ink, looks.background)
    assert right.all.mean() > 0.9
    wrong = followed(found, digits, (looks.ink + 4) % len(INKS), looks.background)
    assert not wrong.all.any()
    assert wrong.digit.mean() > 0.9
    anything = followed(found, digits, np.full(40, -1), looks.background)
    assert anything.ink.all()
    assert np.isnan(anything.hue_error).all()


def test_tasks_ask_for_what_training_had(monkeypatch, source):
    monkeypatch.setattr("text_tasks.load_dataset", lambda *args, **options: source)
    given = tasks(split="test", count=12, seed=0, judge=load_classifier())
    looks = given["another ink"]
    assert looks.images.shape == (12, *Digits.image_shape[:2], 3)
    assert not unseen(looks.ink, looks.digit).any()
    for here, there in zip(looks.source_prompts, looks.target_prompts, strict=True):
        assert len(here.split()) == len(there.split())
        assert here != there
    another = given["another digit"]
    assert not unseen(another.ink, another.digit).any()
    assert (another.digit != looks.digit).all()
    for name in ("from white on black", "from edges"):
        assert given[name].images.min() == -1
        assert all(" on black" in prompt for prompt in given[name].source_prompts)


def test_a_leak_is_how_far_colours_stay_the_source_s(source):
    images, looks = source.take(range(20)), source.looks.of(range(20))
    drawing = taken_apart(images)
    ink, ground = (looks.ink + 3) % len(INKS), (looks.background + 1) % len(BACKGROUNDS)
    assert np.nanmin(leak(drawing, drawing, ink, ground)) > 0.95
    right = leak(drawing, drawing, looks.ink, looks.background)
    assert np.isnan(right).mean() > 0.9
    halfway = drawing._replace(
        ink=(
            drawing.ink
            + np.asarray([colorsys.hsv_to_rgb(h / 360, 1, 1) for h in INKS.values()])[ink]
        )
        / 2
    )
    same = np.asarray(looks.background)
    assert np.nanmean(leak(halfway, drawing, ink, same)) == pytest.approx(0.5, abs=0.05)


@pytest.mark.slow
def test_self_similarity_knows_strokes(source):
    strokes = taken_apart(source.take(range(8))).stroke
    found = self_similarity(strokes, load_classifier())
    assert found.shape == (8, 256, 256)
    np.testing.assert_allclose(np.diagonal(found, axis1=1, axis2=2), 1, atol=1e-6)
    others = np.square(found - found[::-1]).mean()
    shifted = self_similarity(np.roll(strokes, 1, axis=2), load_classifier())
    assert np.square(found - shifted).mean() < others
