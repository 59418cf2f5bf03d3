"""A checkpoint is named by its path or, where it came with the package, by its name; found once."""

import pytest

from ddib_jax import pretrained
from ddib_jax.pretrained import FORMATS, checkpoint


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    for name in ("five", "seven"):
        (tmp_path / "models" / name).mkdir(parents=True)
        (tmp_path / "models" / name / "model.json").touch()
    monkeypatch.setattr(checkpoint, "SHIPPED", tmp_path / "models")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "models"


def test_by_name_and_by_path(shipped, tmp_path):
    assert pretrained.open("five").path == shipped / "five"
    assert pretrained.open(shipped / "seven").path == shipped / "seven"
    (tmp_path / "five").mkdir()
    with pytest.warns(UserWarning, match="is the shipped model; the folder of that name here"):
        assert pretrained.open("five").path == shipped / "five"
    (tmp_path / "five" / "config.json").write_text("{}")  # now it is a model, of diffusers
    with pytest.warns(UserWarning, match="the model in the folder of that name here"):
        assert pretrained.open("five").path.resolve() == tmp_path / "five"


@pytest.mark.parametrize("name", ["eight", "models/eight", "five/model.json"])
def test_an_unknown_name_is_refused_with_the_shipped_ones(shipped, name):
    with pytest.raises(
        FileNotFoundError, match=rf"There is no model '{name}': .* shipped model \(five, seven\)\."
    ):
        pretrained.open(name)


def test_a_model_that_a_wheel_has_not_says_where_it_is(shipped):
    with pytest.raises(FileNotFoundError, match="with a clone of the repository alone"):
        pretrained.open("captioned")


def test_nothing_shipped(shipped, monkeypatch):
    monkeypatch.setattr(checkpoint, "SHIPPED", shipped / "none")
    with pytest.raises(FileNotFoundError, match=r"shipped model \(none\)"):
        pretrained.load("five")


def test_what_a_checkpoint_holds(monkeypatch):
    """All of it after one search, and the model read once."""
    searches, reads = [], []
    find, load_model = checkpoint._find, FORMATS["ddib"].load
    monkeypatch.setattr(checkpoint, "_find", lambda name: searches.append(name) or find(name))
    counted = FORMATS["ddib"]._replace(load=lambda path: reads.append(path) or load_model(path))
    monkeypatch.setitem(FORMATS, "ddib", counted)
    digits = pretrained.open("digits")
    assert reads == []
    assert digits.classes == tuple("0123456789")
    assert digits.facts["kind"] == "diffusion"
    assert len(digits.fingerprint) == 16
    assert digits.format is FORMATS["ddib"]
    assert reads == []
    assert digits.conditioner.count == 10
    assert digits.conditioner.null == 10
    assert digits.conditioner(["5"]).tolist() == [5]
    assert digits.model() is digits.model()
    assert (searches, reads) == (["digits"], [digits.path])
    assert pretrained.open("five").conditioner is None
    assert pretrained.open("five").fingerprint != digits.fingerprint
