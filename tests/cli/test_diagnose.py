"""`ddib diagnose` from the command line: a healthy model, a sick one, and bad inputs."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from ddib_jax import pretrained, schedules
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.nets import UNet
from ddib_jax.preconditioning import Wiener
from tests.cli.conftest import tiny_model

pytestmark = pytest.mark.slow

QUICK = "--solvers heun rex-midpoint --evaluations 40 80 --error 0.01"
SHAPE = (8, 8, 3)


@pytest.fixture(scope="module")
def domain(tmp_path_factory):
    """Pictures of Gaussian noise, a model that denoises them exactly, and an untrained one.

    The exact model is a Wiener filter to which its network adds nothing.
    """
    folder = tmp_path_factory.mktemp("domain")
    images = np.clip(np.random.default_rng(0).normal(0.1, 0.3, (400, *SHAPE)), -1, 1).astype(
        np.float32
    )
    (folder / "pictures").mkdir()
    for place, image in enumerate(images[:48]):
        Image.fromarray(np.rint((image + 1) * 127.5).astype(np.uint8)).save(
            folder / "pictures" / f"{place:02d}.png"
        )
    network = UNet(model_channels=32, channel_mult=(1,), attention_resolutions=(), patch_size=2)
    wiener = Wiener.fit(images, rank=8)
    params = network.init(jnp.zeros(2, jnp.uint32), jnp.zeros((1, 8, 8, 6)), jnp.zeros(1))["params"]
    known = DiffusionModel(
        params, wiener, network=network, schedule=schedules.EDM(0.05), data_shape=SHAPE
    )
    pretrained.save_model(
        folder / "healthy", known, facts={"data": {"name": "noise", "images": 400}, "training": {}}
    )
    pretrained.save_model(folder / "sick", tiny_model(0), facts={"data": {}, "training": {}})
    return folder


def test_a_healthy_model(ddib, domain, tmp_path):
    code, out, err = ddib(
        "diagnose",
        domain / "healthy",
        domain / "pictures",
        "--precision float32 --out",
        tmp_path / "page",
        QUICK,
    )
    assert (code, err) == (0, "")
    assert "Precision        float32" in out
    assert "lattice-heun does so to the bit" in out
    assert "Conclusion: this model is fit to bridge" in out
    assert "BAD" not in out
    assert "--solver heun --steps" in out
    assert "ddib encode --aux" in out
    page = (tmp_path / "page" / "index.html").read_text()
    assert "this model is fit to bridge" in page
    assert "http://" not in page
    noted = json.loads((tmp_path / "page" / "run.json").read_text())
    assert noted["command"].startswith("ddib diagnose ")
    assert noted["config"]["precision"] == "float32"
    assert (tmp_path / "page" / "figures" / "round-trips.png").is_file()


def test_a_sick_model(ddib, domain, tmp_path):
    """The prior of another contrast and no training at all: found out, with what to do."""
    code, out, _ = ddib(
        "diagnose", domain / "sick", domain / "pictures", "--out", tmp_path / "page", QUICK
    )
    assert code == 1
    assert "BAD" in out
    assert "Conclusion: this model is not fit to bridge yet: out of range are" in out
    assert "train longer" in out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("nowhere", "There is no model 'nowhere'"),
        ("{healthy}", "was not trained on a bundled data set; name some real images"),
        ("{healthy} missing.png", "There is no 'missing.png'"),
        ("{healthy} {pictures} --solvers leapfrog", "Unknown solver 'leapfrog'; known are euler"),
        ("digit-classifier five", "holds a classifier model"),
    ],
)
def test_bad_input_is_one_sentence(ddib, domain, tmp_path, arguments, sentence):
    places = {name: domain / name for name in ("healthy", "pictures")}
    code, _, err = ddib("diagnose", *arguments.format(**places).split(), "--out", tmp_path / "page")
    assert code == 1
    assert err.startswith("ddib: ")
    assert err.count("\n") == 1
    assert sentence in err
    assert not (tmp_path / "page").exists()
