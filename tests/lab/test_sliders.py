"""Sliders are made of the registry: their ends, steps and seven values suit every perturbation."""

import pytest

from ddib_jax.lab import all_sliders, slider
from ddib_jax.perturbations import PERTURBATIONS, check_coefficient

SLIDERS = all_sliders(highest=80.0, side=32)


def test_every_perturbation_that_does_something_has_a_slider():
    assert [one.name for one in SLIDERS] == [name for name in PERTURBATIONS if name != "none"]


@pytest.mark.parametrize("one", SLIDERS, ids=lambda one: one.name)
def test_a_slider_stays_in_the_range_of_its_perturbation(one):
    transform = PERTURBATIONS[one.name]
    assert transform.low <= one.low < one.high <= transform.high
    assert one.low <= one.start <= one.high
    assert 0 < one.step <= one.high - one.low
    if transform.neutral is not None:
        assert one.neutral is not None
        assert one.low <= one.neutral <= one.high
    values = one.seven()
    assert 4 <= len(values) <= 7
    assert list(values) == sorted(set(values))
    assert (values[0], values[-1]) == (pytest.approx(one.low), pytest.approx(one.high))
    for value in values:
        check_coefficient(one.name, transform, value)


def test_a_level_ends_at_that_of_the_latents():
    level = slider("partial-noise", highest=80.0, side=32)
    assert (level.high, level.neutral, level.logarithmic) == (80.0, 80.0, True)
    assert slider("checkerboard-noise", highest=80.0, side=8).high == 4
    with pytest.raises(ValueError, match="Unknown perturbation"):
        slider("melt", highest=80.0, side=32)
