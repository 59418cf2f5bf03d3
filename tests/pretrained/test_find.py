"""A model is named by its path or, where it came with the package, by its name."""

import pytest

from ddib_jax import pretrained


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    for name in ("five", "seven"):
        (tmp_path / "models" / name).mkdir(parents=True)
        (tmp_path / "models" / name / "model.json").touch()
    monkeypatch.setattr(pretrained, "SHIPPED", tmp_path / "models")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "models"


def test_by_name_and_by_path(shipped, tmp_path):
    assert pretrained.find("five") == shipped / "five"
    assert pretrained.find(shipped / "seven") == shipped / "seven"
    (tmp_path / "five").mkdir()
    assert (
        pretrained.find("five").resolve() == tmp_path / "five"
    )  # a path comes before a shipped model


@pytest.mark.parametrize("name", ["eight", "models/eight", "five/model.json"])
def test_an_unknown_name_is_refused_with_the_shipped_ones(shipped, name):
    with pytest.raises(
        FileNotFoundError, match=rf"There is no model '{name}': .* shipped model \(five, seven\)\."
    ):
        pretrained.find(name)


def test_nothing_shipped(shipped, monkeypatch):
    monkeypatch.setattr(pretrained, "SHIPPED", shipped / "none")
    with pytest.raises(FileNotFoundError, match=r"shipped model \(none\)"):
        pretrained.load("five")
