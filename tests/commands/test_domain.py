"""What a training takes from its domain: batches that are made ahead come in order."""

import numpy as np
import pytest

from ddib_jax.commands.domain import BatchesInOrder


def test_batches_in_order_are_those_of_their_steps():
    batch_at = BatchesInOrder(iter([{"image": np.full(1, step)} for step in (3, 4, 5)]), start=3)
    assert [batch_at(step)["image"].item() for step in (3, 4, 5)] == [3, 4, 5]


@pytest.mark.parametrize("step", [2, 3, 5])
def test_another_step_than_the_next_is_refused(step):
    batch_at = BatchesInOrder(iter([{}, {}, {}]), start=3)
    batch_at(3)
    with pytest.raises(ValueError, match=f"The batch of step 4 is next, and that of step {step}"):
        batch_at(step)
    assert batch_at(4) == {}
