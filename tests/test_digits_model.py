"""The shipped class-conditional model: ten domains in one."""

import jax
import numpy as np
import pytest

import ddib_jax
from ddib_jax import pretrained, translation
from ddib_jax.bridge import Bridge
from ddib_jax.evaluation import Classifier, classify
from ddib_jax.metrics import digits

CLASSIFIER = Classifier(
    *pretrained.load_network(pretrained.open("digit-classifier").path, "classifier")
)


def test_what_it_is():
    directory = pretrained.open("digits").path
    assert pretrained.open("digits").classes == tuple("0123456789")
    assert pretrained.load("digits").network.num_classes == 11
    assert sum(path.stat().st_size for path in directory.iterdir()) <= 8 * 2**20


@pytest.mark.slow
def test_samples_are_of_their_class():
    digit_bridge = Bridge.over(pretrained.load("digits"), steps=12, grid="log-uniform")
    labels = np.arange(40) % 10
    noise = np.asarray(jax.random.normal(jax.random.key(3), (40, 32, 32, 3)))
    logits, _ = classify(CLASSIFIER, translation.sample(digit_bridge, noise, cond=labels))
    assert np.mean(logits.argmax(axis=1) == labels) > 0.7


@pytest.mark.slow
def test_fives_become_eights_of_their_colour():
    model = pretrained.load("digits")
    fives = ddib_jax.load_dataset("five", split="test").take(range(24))
    five, eight = (
        Bridge.over(model.given(np.int32(label)), steps=15, grid="log-uniform") for label in (5, 8)
    )
    eights = translation.decode(eight, translation.encode(five, fives).y)
    assert np.mean(classify(CLASSIFIER, eights)[0].argmax(axis=1) == 8) > 0.5
    assert np.nanmedian(digits.hue_error(fives, eights)) < 30
