"""Digits of many looks: what is fixed, what is drawn, and what a caption says of it."""

import re

import numpy as np
import pytest

from ddib_jax.data import (
    Captioned,
    CaptionedDigits,
    batch_at,
    bundled_digits,
    captions_at,
    load_dataset,
)
from ddib_jax.data.captioned_digits import (
    BACKGROUNDS,
    INKS,
    WEIGHTS,
    WORDS,
    Looks,
    caption,
    dressed,
    unseen,
)

FULL = re.compile(
    f"an? ({'|'.join(WEIGHTS)}) ({'|'.join(INKS)}) ({'|'.join(WORDS)}) on ({'|'.join(BACKGROUNDS)})"
)
SAID = re.compile(
    f"an?( ({'|'.join(WEIGHTS)}))?( (?P<ink>{'|'.join(INKS)}))?"
    f" ((?P<word>{'|'.join(WORDS)})|digit)( on (?P<ground>{'|'.join(BACKGROUNDS)}))?"
)


def ground(name):
    """The pixel in an image's corner."""
    return 2 * np.asarray(BACKGROUNDS[name], np.float32) - 1


@pytest.fixture(scope="module")
def source():
    return load_dataset("captioned:5,7", split="test")


def test_it_is_a_captioned_source(source):
    assert isinstance(source, Captioned)
    assert isinstance(source, CaptionedDigits)
    images = source.take(range(4))
    assert images.shape == (4, 32, 32, 3)
    assert images.dtype == np.float32
    assert np.abs(images).max() <= 1


def test_looks_of_evaluation_belong_to_the_image(source):
    """They depend on nothing but its place in MNIST, the split and the seed."""
    images, captions = source.take(range(300)), source.captions(range(300))
    np.testing.assert_array_equal(source.take([7, 3])[1], images[3])
    assert source.captions([7, 3]) == [captions[7], captions[3]]
    fives = CaptionedDigits(bundled_digits("test").only([5]))
    places = np.flatnonzero(source.labels == 5)[:20]
    np.testing.assert_array_equal(fives.take(range(20)), source.take(places))
    assert fives.captions(range(20)) == source.captions(places)
    other = CaptionedDigits(source.digits, seed=1)
    assert not np.array_equal(other.take(range(9)), images[:9])
    said = [FULL.fullmatch(text) for text in captions]
    assert all(said)
    digits = [WORDS.index(match[3]) for match in said]
    assert digits == source.labels[:300].tolist()
    grounds = [ground(match[4]) for match in said]
    np.testing.assert_array_equal(images[:, 0, 0], grounds)


def test_equal_generators_draw_equal_images_and_captions(source):
    rng = lambda: np.random.default_rng(3)
    indices = np.arange(40)
    np.testing.assert_array_equal(source.take(indices, rng=rng()), source.take(indices, rng=rng()))
    assert source.captions(indices, rng=rng()) == source.captions(indices, rng=rng())
    assert not np.array_equal(source.take(indices, rng=rng()), source.take(indices))
    part = slice(8, 20)
    whole, some = (source.take(indices, rng=rng(), part=p) for p in (slice(None), part))
    np.testing.assert_array_equal(whole[part], some)
    whole, some = (source.captions(indices, rng=rng(), part=p) for p in (slice(None), part))
    assert whole[part] == some
    assert len(set(whole)) > 20


def test_captions_say_what_the_images_of_their_batch_show(source):
    drawn = {"batch_size": 64, "seed": 2}
    images, labels = batch_at(source, 5, **drawn)
    captions = captions_at(source, 5, **drawn)
    for image, label, text in zip(images, labels, captions, strict=True):
        said = SAID.fullmatch(text)
        assert said, text
        assert said["word"] in (None, WORDS[label])
        if said["ground"]:
            np.testing.assert_array_equal(image[0, 0], ground(said["ground"]))
    halves = [captions_at(source, 5, **drawn, shard=(index, 2)) for index in range(2)]
    assert halves[0] + halves[1] == captions
    lengths = {len(text.split()) for text in captions}
    assert len(lengths) > 3  # some say more, some less


@pytest.mark.parametrize("split", ["train", "test"])
def test_unseen_pairs_are_never_drawn_in_training(split):
    source = CaptionedDigits(bundled_digits(split))
    drawn = source._looks(np.arange(len(source)), np.random.default_rng(0))
    assert not unseen(drawn.ink, source.labels).any()
    # Of the others each ink is as frequent: those of a pair that is never shown are shared out.
    shares = np.bincount(drawn.ink[source.labels == 5], minlength=len(INKS)) / sum(
        source.labels == 5
    )
    assert shares[0] == 0
    np.testing.assert_allclose(shares[1:], 1 / (len(INKS) - 1), atol=0.05)
    # The test split asks for them; the training split does not show them in evaluation either.
    assert unseen(source.looks.ink, source.labels).any() == (split == "test")
    assert [unseen(np.arange(len(INKS)), digit).sum() for digit in range(10)] == 10 * [1]


def test_inks_and_strokes():
    """Hues are within their spread, and bold strokes have more ink than thin ones."""
    source = CaptionedDigits(bundled_digits("test").only([7]))
    looks = source._looks(np.arange(200), np.random.default_rng(0))
    red, green, blue = looks.colour.T
    hue = np.degrees(np.arctan2(np.sqrt(3) * (green - blue), 2 * red - green - blue)) % 360
    # atan2's hue and the hexagon's differ by up to 1.2 degrees.
    off = (hue - np.asarray(list(INKS.values()))[looks.ink] + 180) % 360 - 180
    assert np.abs(off).max() < 7 + 1.2
    same = Looks(*(np.zeros(200, int),) * 2, np.arange(200) % 2, np.ones((200, 3), np.float32))
    pixels = source.digits.pixels[:200]
    ink = (dressed(pixels, same) + 1).sum((1, 2, 3)) / pixels.sum((1, 2))
    assert ink[1::2].min() > ink[::2].max()


def test_captions_of_some_of_it():
    assert (
        caption(digit=7, ink="red", background="white", weight="bold")
        == "a bold red seven on white"
    )
    assert caption() == "a digit"
    assert [caption(digit=digit) for digit in (1, 8)] == ["a one", "an eight"]
    assert caption(digit=1, ink="orange") == "an orange one"
    assert caption(background="light blue") == "a digit on light blue"
