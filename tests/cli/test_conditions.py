"""Classes and guidance, on the command line and in a training."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from ddib_jax import preconditioning, pretrained, schedules, translation
from ddib_jax.bridge import Bridge
from ddib_jax.cli.conditions import Condition
from ddib_jax.cli.train import Train
from ddib_jax.data import image_folder
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.nets import NoisyClassifier, SongUNet, UNet, UNet2D, example_condition
from ddib_jax.pretrained import checkpoint
from ddib_jax.pretrained.torch_names import state_dict
from ddib_jax.pretrained.torch_writer import save_state_dict
from ddib_jax.trainer import Batches, Reference
from ddib_jax.translation.batching import measured_batch

pytestmark = pytest.mark.slow

SHAPE = (8, 8, 3)
FEW = "--steps 3 --batch-size 4"


@pytest.fixture(scope="module")
def animals(tmp_path_factory):
    """A model of two classes and a null label, and a classifier of noisy images of two classes.

    The model's weights are random, so that its classes differ.
    """
    home = tmp_path_factory.mktemp("animals")
    network = UNet(
        model_channels=32, channel_mult=(1,), attention_resolutions=(), patch_size=2, num_classes=3
    )
    params = jax.jit(network.init)(
        jax.random.key(0), jnp.zeros((1, *SHAPE)), jnp.zeros(1), jnp.zeros(1, jnp.int32)
    )["params"]
    rng = np.random.default_rng(0)
    params = jax.tree.map(
        lambda leaf: leaf + 0.1 * rng.normal(size=leaf.shape).astype(np.float32), params
    )
    model = DiffusionModel(
        params,
        preconditioning.EDM(0.5),
        network=network,
        schedule=schedules.EDM(),
        data_shape=SHAPE,
    )
    facts = {"classes": ["cat", "dog"], "data": {}, "training": {}}
    pretrained.save_model(home / "model", model, facts=facts)
    classifier = NoisyClassifier(
        model_channels=64,
        channel_mult=(1,),
        num_res_blocks=1,
        attention_resolutions=(),
        num_head_channels=64,
        resblock_updown=True,
        num_classes=2,
    )
    weights = jax.jit(classifier.init)(jax.random.key(1), jnp.zeros((1, *SHAPE)), jnp.zeros(1))[
        "params"
    ]
    weights = jax.tree.map(
        lambda leaf: leaf + 0.1 * rng.normal(size=leaf.shape).astype(np.float32), weights
    )
    save_state_dict(
        home / "classifier.pt",
        state_dict(weights, positions=("qkv", "proj_out", "qkv_proj", "c_proj")),
    )
    flags = {
        "image_size": 8,
        "classifier_width": 64,
        "classifier_depth": 1,
        "classifier_attention_resolutions": "",
        "out_channels": 2,
    }
    (home / "classifier.json").write_text(json.dumps(flags))
    return home


def shown(place):
    return np.asarray(Image.open(place / "a-rgb.png"), int)


def test_one_model_is_many_domains(ddib, animals, pictures, tmp_path):
    one = ("translate", pictures, "--model", animals / "model", FEW)
    assert ddib(*one, "--source-class cat --target-class dog --out", tmp_path / "a")[0] == 0
    assert ddib(*one, "--source-class 0 --target-class 1 --out", tmp_path / "b")[0] == 0
    assert ddib(*one, "--source-class cat --target-class cat --out", tmp_path / "c")[0] == 0
    assert np.array_equal(shown(tmp_path / "a"), shown(tmp_path / "b"))
    assert not np.array_equal(shown(tmp_path / "a"), shown(tmp_path / "c"))


def test_a_checkpoint_is_found_once(ddib, animals, pictures, tmp_path, monkeypatch):
    """Also where it is the model of both classes, is guided, and marks its latents."""
    searches, find = [], checkpoint._find
    monkeypatch.setattr(checkpoint, "_find", lambda name: searches.append(name) or find(name))
    model, options = animals / "model", "--class cat --guidance 2 --out"
    both = "--source-class cat --target-class dog --target-guidance 2 --out"
    for command in (
        ("translate", pictures, "--model", model, both, tmp_path / "a"),
        ("encode", pictures, "--model", model, options, tmp_path / "latents.npz"),
        ("decode", tmp_path / "latents.npz", "--model", model, options, tmp_path / "b"),
        ("sample --count 2 --model", model, "--class cat,dog --out", tmp_path / "c"),
    ):
        assert ddib(*command, FEW)[0] == 0
        assert searches == [str(model)]
        searches.clear()


def test_latents_are_marked_by_the_class_and_not_by_its_name(animals):
    opened = pretrained.open(animals / "model")
    mark = lambda label: Condition(label=label).mark(opened)
    assert mark("cat") == mark("0") != mark("dog")
    assert mark(None) != mark("cat")


def test_guided_legs(ddib, animals, pictures, tmp_path):
    legs = (
        "translate",
        pictures,
        "--model",
        animals / "model",
        "--source-class cat --target-class dog",
        FEW,
    )
    assert ddib(*legs, "--out", tmp_path / "plain")[0] == 0
    code, _, err = ddib(*legs, "--target-guidance 3 --out", tmp_path / "free")
    assert code == 0
    assert "guide both alike if the cycle is to close" in err
    code, _, err = ddib(*legs, "--source-guidance 3 --target-guidance 3 --out", tmp_path / "both")
    assert (code, err) == (0, "")
    classifier = ("--target-classifier", animals / "classifier.pt", "--target-guidance 5")
    assert ddib(*legs, *classifier, "--out", tmp_path / "guided")[0] == 0
    made = [shown(tmp_path / name) for name in ("plain", "free", "both", "guided")]
    assert all(not np.array_equal(one, other) for i, one in enumerate(made) for other in made[:i])


def saved(network, place, facts=None):
    """A model of random weights, as a model directory."""
    params = jax.jit(network.init)(
        jax.random.key(0), jnp.zeros((1, *SHAPE)), jnp.zeros(1), example_condition(network)
    )["params"]
    rng = np.random.default_rng(0)
    params = jax.tree.map(
        lambda leaf: leaf + 0.1 * rng.normal(size=leaf.shape).astype(np.float32), params
    )
    model = DiffusionModel(
        params,
        preconditioning.EDM(0.5),
        network=network,
        schedule=schedules.EDM(),
        data_shape=SHAPE,
    )
    return pretrained.save_model(place, model, facts={"data": {}, "training": {}, **(facts or {})})


def test_edm_networks_are_guided_where_labels_were_dropped(ddib, tmp_path):
    small = {
        "img_resolution": 8,
        "model_channels": 32,
        "channel_mult": (1,),
        "num_blocks": 1,
        "attn_resolutions": (),
        "label_dim": 2,
    }
    dropped, kept = (
        saved(SongUNet(**small, label_dropout=rate), tmp_path / str(rate)) for rate in (0.1, 0.0)
    )
    model = pretrained.conditioned(pretrained.open(dropped), label="1", guidance=3.0)
    x, sigma = jax.random.normal(jax.random.key(2), (2, *SHAPE)), jnp.asarray(1.0)
    plain = pretrained.load(dropped)
    free, told = (plain.given(jnp.asarray(label)).denoise(x, sigma) for label in (2, 1))
    np.testing.assert_allclose(model.denoise(x, sigma), free + 3 * (told - free), atol=1e-5)
    assert float(jnp.abs(told - free).max()) > 1e-3
    code, _, err = ddib(
        "sample --model", kept, "--class 1 --count 2", FEW, "--out", tmp_path / "plain"
    )
    assert (code, err) == (0, "")
    with pytest.raises(ValueError, match="was not trained with its labels dropped"):
        pretrained.conditioned(pretrained.open(kept), label="1", guidance=3.0)


def test_diffusers_networks_without_a_table_of_classes(ddib, pictures, tmp_path):
    small = {
        "block_out_channels": (32,),
        "down_block_types": ("DownBlock2D",),
        "up_block_types": ("UpBlock2D",),
        "layers_per_block": 1,
    }
    numbered, embedded = (
        saved(UNet2D(**small, class_embed_type=kind), tmp_path / kind)
        for kind in ("timestep", "identity")
    )
    legs = ("translate", pictures, "--model", numbered, "--source-class 40 --target-class 7", FEW)
    assert ddib(*legs, "--out", tmp_path / "out")[0] == 0
    code, *_ = ddib(
        "sample --model", numbered, "--class 3,900 --count 2", FEW, "--out", tmp_path / "samples"
    )
    assert code == 0
    for given, said in (
        (("--class", "cat"), "any whole number; say which, not 'cat'"),
        ((), "any whole number; say which."),
    ):
        code, _, err = ddib(
            "sample --model", numbered, *given, "--count 2", FEW, "--out", tmp_path / "no"
        )
        assert code == 1
        assert said in err
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        np.save(tmp_path / f"{name}.npy", rng.normal(size=128))
    words = ("--source-class", tmp_path / "a.npy", "--target-class", tmp_path / "b.npy")
    legs = ("translate", pictures, "--model", embedded, FEW)
    assert ddib(*legs, *words, "--out", tmp_path / "embedded")[0] == 0
    files = f"{tmp_path / 'a.npy'},{tmp_path / 'b.npy'}"
    code, *_ = ddib(
        "sample --model", embedded, "--class", files, "--count 3", FEW, "--out", tmp_path / "drawn"
    )
    assert code == 0
    code, _, err = ddib(*legs, "--source-class 1 --target-class 2 --out", tmp_path / "no")
    assert code == 1
    assert "is told embeddings, and '1' is no .npy file that can be read" in err
    with pytest.raises(ValueError, match="has no label that means no class"):
        pretrained.conditioned(pretrained.open(numbered), label="1", guidance=2.0)


def test_a_classifier_guides_a_model_without_classes(ddib, animals, models, pictures, tmp_path):
    legs = ("translate", pictures, "--source", models / "here", "--target", models / "there", FEW)
    code, *_ = ddib(
        *legs,
        "--target-class 1 --target-classifier",
        animals / "classifier.pt",
        "--out",
        tmp_path / "one",
    )
    assert code == 0


def test_an_auxiliary_state_does_not_cross_to_another_class(ddib, animals, pictures, tmp_path):
    way = "--solver rex-midpoint --grid log-uniform"
    latents = tmp_path / "latents.npz"
    code, *_ = ddib(
        "encode",
        pictures,
        "--model",
        animals / "model",
        "--class cat --aux --out",
        latents,
        way,
        FEW,
    )
    assert code == 0
    code, out, _ = ddib(
        "decode",
        latents,
        "--model",
        animals / "model",
        "--class cat --out",
        tmp_path / "same",
        way,
        FEW,
    )
    assert code == 0
    assert "of no use here" not in out
    given, back = (
        np.asarray(Image.open(folder / "a-rgb.png"), int)
        for folder in (pictures, tmp_path / "same")
    )
    assert np.abs(given - back).max() == 0
    code, out, _ = ddib(
        "decode",
        latents,
        "--model",
        animals / "model",
        "--class dog --out",
        tmp_path / "other",
        way,
        FEW,
    )
    assert code == 0
    assert "under another condition" in out


def test_samples_of_chosen_classes(ddib, animals, tmp_path):
    sample = ("sample --count 5 --model", animals / "model", FEW)
    assert ddib(*sample, "--out", tmp_path / "all")[0] == 0
    assert ddib(*sample, "--class dog,cat --out", tmp_path / "two")[0] == 0
    one, two = (
        np.asarray(Image.open(tmp_path / name / "sample-00000.png")) for name in ("all", "two")
    )
    assert not np.array_equal(one, two)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            "translate {pictures} --model {animals}/model --target-class dog",
            "has classes (cat, dog); say which",
        ),
        (
            "translate {pictures} --model {animals}/model --source-class cat --target-class horse",
            "has no class 'horse'; its classes are cat, dog",
        ),
        (
            "translate {pictures} --model {animals}/model --source-class cat --target-class 2",
            "has no class '2'",
        ),
        (
            "translate {pictures} --source {models}/here --target {models}/there --source-class 0",
            "has no classes; leave the class out",
        ),
        (
            (
                "translate {pictures} --source {models}/here --target {models}/there"
                " --target-guidance 2"
            ),
            "no classes to be guided to",
        ),
        ("translate {pictures} --source {models}/here", "Name the target model too"),
        (
            "translate {pictures}",
            "Name a source and a target model, or one conditional model",
        ),
        (
            (
                "translate {pictures} --source {models}/here --target {models}/there"
                " --target-classifier {animals}/classifier.pt"
            ),
            "classifier.pt has classes (0 to 1)",
        ),
        (
            (
                "translate {pictures} --source {models}/here --target {models}/there --target-class"
                " 1 --target-classifier {animals}/none.pt"
            ),
            "The flags of",
        ),
        ("sample --model {models}/here --class dog", "has no classes; leave the class out"),
        ("sample --model {animals}/model --class dog,pig", "has no class 'pig'"),
        ("encode {pictures} --model {animals}/model", "has classes (cat, dog)"),
    ],
)
def test_what_does_not_go_together_is_said(ddib, animals, models, pictures, tmp_path, words, said):
    out = tmp_path / ("out.npz" if words.startswith("encode") else "out")
    places = {"animals": animals, "models": models, "pictures": pictures}
    code, _, err = ddib(*words.format(**places).split(), "--out", out)
    assert code == 1
    assert said in err
    assert err.count("\n") == 1
    assert not out.exists()


def test_mixed_labels_in_one_batch(animals):
    """An image's latent depends on its own class alone, and other labels do not retrace."""
    model, images = (
        pretrained.load(animals / "model"),
        np.random.default_rng(0).uniform(-1, 1, (4, *SHAPE)).astype(np.float32),
    )
    here = Bridge.over(model, steps=3)
    mixed = translation.encode(here, images, cond=np.asarray([0, 1, 1, 0], np.int32)).y
    for label in (0, 1):
        alone = translation.encode(here.replace(model=model.given(jnp.asarray(label))), images).y
        chosen = np.asarray([0, 1, 1, 0]) == label
        np.testing.assert_allclose(mixed[chosen], alone[chosen], atol=1e-5)
    traces = []

    @jax.jit
    def encoded(here, x):
        traces.append(1)
        return here.encode(x)

    for labels in ([0, 1, 1, 0], [1, 1, 1, 1]):
        encoded(here.replace(model=model.given(jnp.asarray(labels))), jnp.asarray(images))
    assert len(traces) == 1


def test_an_animation_of_the_way(ddib, animals, pictures, tmp_path):
    legs = (
        "translate",
        pictures,
        "--model",
        animals / "model",
        "--source-class cat --target-class dog",
        FEW,
    )
    for kind in ("gif", "webp"):
        assert ddib(*legs, "--trajectory", kind, "--out", tmp_path / kind)[0] == 0
        with Image.open(tmp_path / kind / f"path.{kind}") as film:
            assert film.n_frames == 7
            assert film.size == (5 * 128, 128)
            film.seek(6)
            last = np.asarray(film.convert("RGB"), int)[:128:16, :128:16]
    assert np.abs(last - shown(tmp_path / "webp")).max() <= 1


def test_a_batch_is_measured(animals, ddib, pictures, tmp_path, capsys):
    here = Bridge.over(pretrained.load(animals / "model").given(jnp.asarray(0)), steps=3)
    assert 1 <= measured_batch(here, 4) <= 4 * jax.local_device_count()
    with pytest.raises(MemoryError, match="One image needs"):
        measured_batch(here, 4, free=10)
    code, out, _ = ddib(
        "encode",
        pictures,
        "--model",
        animals / "model",
        "--class dog --batch-size auto --steps 3 --out",
        tmp_path / "l.npz",
    )
    assert code == 0
    assert "evaluations a second" in out


@pytest.fixture
def classes(tmp_path):
    """A folder of two folders of four 8 x 8 pictures: dark and bright."""
    for name, low in (("dark", 0), ("bright", 200)):
        (tmp_path / "classes" / name).mkdir(parents=True)
        for index in range(4):
            pixels = np.random.default_rng(index).integers(low, low + 50, (8, 8, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "classes" / name / f"{index}.png")
    return tmp_path / "classes"


def test_folders_are_classes(classes):
    source = image_folder(classes)
    assert source.classes == ("bright", "dark")
    assert source.labels.tolist() == [0] * 4 + [1] * 4
    Image.new("RGB", (8, 8)).save(classes / "loose.png")
    loose = image_folder(classes)
    assert loose.classes == ()
    assert loose.labels is None


def test_labels_are_dropped_by_step_alone(classes):
    source = image_folder(classes)
    batch = Batches(source, batch_size=400, seed=3, labelled=True, label_dropout=0.25)
    one, again = batch(7), batch(7)
    assert np.array_equal(one["cond"], again["cond"])
    assert not np.array_equal(one["cond"], batch(8)["cond"])
    assert 60 < int(np.sum(one["cond"] == 2)) < 140
    assert set(one["cond"]) == {0, 1, 2}


def test_half_of_the_images_are_mirrored(classes):
    source = image_folder(classes)
    plain, turned = (
        Batches(source, batch_size=64, seed=3, flip=flip)(5)["image"] for flip in (False, True)
    )
    mirrored = np.asarray(
        [np.array_equal(one, other[:, ::-1]) for one, other in zip(plain, turned, strict=True)]
    )
    assert 16 < mirrored.sum() < 48
    assert np.array_equal(plain[~mirrored], turned[~mirrored])


def test_a_reference_of_the_same_class(classes):
    reference = Reference.draw(image_folder(classes), 8, 0, labelled=True)
    related = np.asarray(reference.related(jnp.asarray([0, 1, 2]), 2))
    assert np.array_equal(related[0], np.asarray(reference.labels) == 0)
    assert np.array_equal(related[0], ~related[1])
    assert related[2].all()


def test_a_conditional_training(classes, tmp_path):
    small = {
        "batch_size": 4,
        "channel_mult": (1,),
        "attention_resolutions": (),
        "model_channels": 32,
        "warmup": 1,
        "rank": 4,
    }
    Train(
        data=str(classes),
        out=tmp_path / "model",
        steps=2,
        conditional=True,
        label_dropout=0.1,
        **small,
    ).run()
    assert pretrained.open(tmp_path / "model").classes == ("bright", "dark")
    assert pretrained.load(tmp_path / "model").network.num_classes == 3
    with pytest.raises(ValueError, match="has no labels for a conditional model"):
        Train(data=str(classes / "dark"), out=tmp_path / "none", conditional=True, **small).run()
    with pytest.raises(ValueError, match="Labels are dropped in a training that has some alone"):
        Train(data=str(classes), out=tmp_path / "none", label_dropout=0.1, **small).run()
