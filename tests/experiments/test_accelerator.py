"""The studies of an accelerator, at toy size on this machine."""

import jax
import jax.numpy as jnp
import pytest

import accelerator
import beside_torch
from ddib_jax.nets import example_condition
from ddib_jax.pretrained.published import PUBLISHED


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setitem(accelerator.BATCHES, "five", 2)


@pytest.mark.slow
def test_networks_and_trainings(few, unchecked):
    config = accelerator.Config(
        models=("five",), batches=(), large="five", large_batch=2, repeats=1
    )
    table = accelerator.networks(config)
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    assert [row["precision"] for row in rows] == ["float32", "tf32", "bfloat16"]
    for row in rows:  # 178 million operations an image, whatever the precision
        flops = row["TFLOP/s"] * 1e12 / row["images a second"]
        assert flops == pytest.approx(178e6, rel=0.05)
    table = accelerator.trainings(config)
    (row,) = (dict(zip(table.columns, row, strict=True)) for row in table.rows)
    flops = row["TFLOP/s"] * 1e12 / row["images a second"]
    assert 2 < flops / 178e6 < 5  # there and back again: some three times as many


@pytest.mark.slow
def test_the_same_network_in_torch(few, tmp_path):
    pytest.importorskip("torch", reason="torch is not installed (extra 'parity')")
    pytest.importorskip("diffusers", reason="diffusers is not installed (extra 'parity')")
    config = beside_torch.Config(
        models=("five",), batch=2, compiled=False, repeats=1, out=tmp_path / "run"
    )
    assert beside_torch.main(config).exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["adm-64", "adm-256", "sd15", "sdxl"])
def test_twins_have_as_many_parameters(name):
    """The published networks and diffusers', of which no weight is made."""
    torch = pytest.importorskip("torch", reason="torch is not installed (extra 'parity')")
    pytest.importorskip("diffusers", reason="diffusers is not installed (extra 'parity')")
    size, network = PUBLISHED[name]
    shape = (1, size, size, getattr(network, "in_channels", 3))
    inputs = (jnp.zeros(shape), jnp.zeros(1), example_condition(network))
    spec = jax.eval_shape(network.init, jax.random.key(0), *inputs)["params"]
    with torch.device("meta"):
        found = sum(leaf.numel() for leaf in beside_torch.twin(network, shape).parameters())
    assert found == sum(leaf.size for leaf in jax.tree.leaves(spec))
