"""The worked examples: their pairs, the classical maps beside them, and each at toy size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ddib_jax
import examples
from classical import colour_table, histograms, mean_picture, reinhard
from ddib_jax import pretrained
from ddib_jax.preconditioning import Wiener
from drawn import inverted, phantoms
from subjects import SUBJECTS, restained, write_files

each_subject = pytest.mark.parametrize("name", SUBJECTS)


def same_pictures(one, other):
    """How many pictures of one set are in the other, too."""
    return len({picture.tobytes() for picture in one} & {picture.tobytes() for picture in other})


@each_subject
def test_training_and_test_share_nothing_and_trainings_no_pair(name):
    subject = SUBJECTS[name]
    first, second, tested = (subject.make(16, seed) for seed in range(3))
    for side in (0, 1):
        assert same_pictures(first[side], second[side]) == 0
        assert same_pictures(first[side], tested[side]) == 0
        assert same_pictures(second[side], tested[side]) == 0
        np.testing.assert_array_equal(first[side], subject.make(16, 0)[side])
    for domain in subject.domains.values():
        values = domain.prepare(tested[domain.side])
        outside = np.mean((values < domain.low) | (values > domain.high))
        assert outside < 0.02


def test_partners_are_of_one_place():
    """What is bone in a phantom is dark in MR, and bright in MR inverted."""
    mr, ct = phantoms(16, 3)
    bone = ct > 800
    assert np.median(mr[bone]) < 600
    assert np.median(inverted(mr)[bone]) > 2000
    air = ct < -900
    assert np.median(inverted(mr)[air]) == 0


def test_a_stain_is_changed_where_it_is():
    white, blue, brown = np.eye(3, dtype=np.uint8), (150, 160, 210), (150, 110, 60)
    picture = np.asarray([[(255, 255, 255), blue, brown]], np.uint8)
    white, nucleus, stained = restained(picture)[0].astype(int)
    assert (white == 255).all()
    assert nucleus[2] > nucleus[0]
    # from brown, whose blue is darkest, to pink, whose green is
    assert stained.argmin() == 1


def test_classical_maps_move_what_they_name():
    rng = np.random.default_rng(0)
    a = rng.uniform(-0.8, 0.2, (6, 8, 8, 3))
    b = -0.5 * a[::-1] + 0.1
    np.testing.assert_allclose(mean_picture(a, b)(a[:2])[1], b.mean(axis=0))
    moved = histograms(a, b)(a)
    ranks = np.linspace(0, 1, 9)
    np.testing.assert_allclose(np.quantile(moved, ranks), np.quantile(b, ranks), atol=0.01)
    np.testing.assert_allclose(reinhard(a, a)(a), a, atol=1e-6)
    assert abs(reinhard(a, b)(a).mean() - b.mean()) < 0.02
    grey = a[..., :1]
    coloured = colour_table(grey, b)(grey)
    assert coloured.shape == b.shape
    assert np.corrcoef(coloured.mean(axis=-1).ravel(), grey.ravel())[0, 1] > 0.9


def toy(name, folder):
    """An example of few images and a few milliseconds' work."""
    return examples.Config(
        subject=name,
        images=16,
        pairs=6,
        steps=1,
        batch_size=4,
        rank=4,
        gan_steps=1,
        gan_width=4,
        gan_blocks=0,
        ode_steps=2,
        columns=4,
        files=folder / "files",
        out=folder / "run",
    )


@pytest.fixture
def small(monkeypatch):
    """The smallest U-Net there is."""
    options = {"channel_mult": (1,), "num_res_blocks": 0, "model_channels": 4, "patch_size": 8}
    monkeypatch.setattr(examples, "NETWORK", {**options, "groups": 4, "attention_resolutions": ()})


@pytest.fixture
def untrained(monkeypatch):
    """Models and generators as they are before their training, which is what takes long."""

    def model(source, training, out, *, name):
        prior = Wiener.fit(source.take(range(len(source))), rank=training.rank)
        made = training.untrained(source.image_shape, prior, None)
        pretrained.save_model(out, made, facts={"training": {"seconds": 7}})

    def generators(a, b, training, out):
        shape = (*a.image_shape[:2], max(a.image_shape[2], b.image_shape[2]))
        network, _ = training.networks(shape[2])
        params = network.init(jax.random.key(0), jnp.zeros((1, *shape)))["params"]
        facts = {"training": {"seconds": 7}}
        pretrained.save_network(
            out / "ab", network, params, kind="generator", image_shape=shape, facts=facts
        )

    monkeypatch.setattr(ddib_jax, "train", model)
    monkeypatch.setattr(examples, "train_cyclegan", generators)


@pytest.mark.parametrize(
    "name",
    ["lands", *(pytest.param(name, marks=pytest.mark.slow) for name in ("stains", "phantoms"))],
)
def test_each_at_toy_size(tmp_path, small, untrained, capsys, name):
    assert examples.main(toy(name, tmp_path)).is_file()
    said = capsys.readouterr().out
    for method in ("as it is", "CycleGAN", *examples.WAYS[name]):
        assert f"| {method} |" in said
    assert ("Dice" in said) == (SUBJECTS[name].threshold is not None)
    assert said.count("| 7 |") == len(SUBJECTS[name].domains) + 1
    assert (tmp_path / "run" / name / "pictures.png").is_file()


@pytest.mark.slow
def test_models_are_trained_where_they_are_not(tmp_path, small):
    config, subject = toy("lands", tmp_path), SUBJECTS["lands"]
    write_files(subject, config.files / "lands", images=config.images, pairs=config.pairs)
    home = examples.models(subject, config)
    written = sorted(path.parent.relative_to(home) for path in home.rglob("model.json"))
    assert [str(path) for path in written] == ["cyclegan/ab", "cyclegan/ba", "optical", "sar"]
    told = pretrained.describe(home / "sar")
    assert (told["pixels"]["low"], told["pixels"]["high"]) == ([-30.0], [0.0])
    examples.models(subject, config)
    assert told == pretrained.describe(home / "sar")


@pytest.mark.slow
def test_files_are_written_once(tmp_path):
    subject = SUBJECTS["phantoms"]
    write_files(subject, tmp_path, images=3, pairs=2)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")}
    assert len(before) == 3 * (3 + 2)
    write_files(subject, tmp_path, images=3, pairs=2)
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")}
