"""`ddib convert`: from every format to every other, bit for bit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddib_jax import pretrained
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.nets import UNet
from ddib_jax.preconditioning import Epsilon
from ddib_jax.schedules import Discrete

SHAPE = (8, 8, 3)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A model that every format can hold, as a model directory."""
    network = UNet(
        model_channels=32, channel_mult=(1,), attention_resolutions=(8,), num_head_channels=16
    )
    params = jax.jit(network.init)(jax.random.key(0), jnp.zeros((1, *SHAPE)), jnp.zeros(1))[
        "params"
    ]
    model = DiffusionModel(
        params, Epsilon(), network=network, schedule=Discrete.linear(1000), data_shape=SHAPE
    )
    return pretrained.save_model(
        tmp_path_factory.mktemp("plain") / "model",
        model,
        facts={"data": {}, "training": {"steps_done": 3}},
    )


@pytest.mark.slow
def test_there_and_back(ddib, plain, tmp_path):
    assert ddib("convert", plain, "--to guided-diffusion --out", tmp_path / "guided")[0] == 0
    code, *_ = ddib(
        "convert", tmp_path / "guided" / "model.pt", "--to ddib --out", tmp_path / "back"
    )
    assert code == 0
    assert ddib("convert", plain, "--to diffusers --out", tmp_path / "folder")[0] == 0
    models = [
        pretrained.load(place)
        for place in (plain, tmp_path / "guided" / "model.pt", tmp_path / "back")
    ]
    assert all(
        jax.tree.all(jax.tree.map(np.array_equal, models[0].params, other.params))
        for other in models[1:]
    )
    x = jnp.ones((1, *SHAPE))
    np.testing.assert_allclose(
        pretrained.load(tmp_path / "folder").denoise(x, jnp.asarray(1.0)),
        models[0].denoise(x, jnp.asarray(1.0)),
        atol=1e-5,
    )
    assert pretrained.open(plain).facts["training"] == {"steps_done": 3}
    assert pretrained.open(tmp_path / "back").facts["training"] == {"converted_from": "model.pt"}


def test_names_of_classes_go_along(ddib, tmp_path):
    network = UNet(model_channels=32, channel_mult=(1,), attention_resolutions=(), num_classes=2)
    params = jax.jit(network.init)(
        jax.random.key(0), jnp.zeros((1, *SHAPE)), jnp.zeros(1), jnp.zeros(1, jnp.int32)
    )["params"]
    model = DiffusionModel(
        params, Epsilon(), network=network, schedule=Discrete.linear(1000), data_shape=SHAPE
    )
    pretrained.save_model(
        tmp_path / "model", model, facts={"classes": ["cat", "dog"], "data": {}, "training": {}}
    )
    code, *_ = ddib(
        "convert", tmp_path / "model", "--to guided-diffusion --out", tmp_path / "guided"
    )
    assert code == 0
    assert pretrained.open(tmp_path / "guided" / "model.pt").classes == ("cat", "dog")
    code, *_ = ddib(
        "convert", tmp_path / "guided" / "model.pt", "--to ddib --out", tmp_path / "back"
    )
    assert code == 0
    assert pretrained.open(tmp_path / "back").classes == ("cat", "dog")
    names = tmp_path / "guided" / "classes.json"
    for text, said in (
        ("{", "is not valid JSON"),
        ("[1, 2]", "is not a list of the names"),
        ('["a", "b", "c"]', "has 2 classes and 3 names"),
    ):
        names.write_text(text)
        code, _, err = ddib(
            "sample --model", tmp_path / "guided" / "model.pt", "--class a --out", tmp_path / "no"
        )
        assert code == 1, text
        assert said in err, text


def test_what_cannot_be_held_is_said(ddib, tmp_path):
    for kind in ("guided-diffusion", "diffusers"):
        code, _, err = ddib("convert five --to", kind, "--out", tmp_path / "no")
        assert code == 1
        assert "patch stem" in err
        assert err.count("\n") == 1
        assert not (tmp_path / "no").exists()
    code, _, err = ddib("convert nowhere --to ddib --out", tmp_path / "no")
    assert code == 1
    assert "There is no model 'nowhere'" in err
