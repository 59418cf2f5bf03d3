"""A model directory gives the model back, and says in one sentence why it cannot."""

import itertools
import json
import os
import resource

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from ddib_jax import preconditioning, schedules
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.nets import DigitClassifier, UNet
from ddib_jax.pretrained import describe, load_model, load_network, save_model, save_network

SMALL = {"model_channels": 32, "channel_mult": (1.0,), "attention_resolutions": ()}
NETWORKS = {
    "plain": UNet(**SMALL),
    "classes": UNet(**SMALL, num_classes=5),
    "patches": UNet(**SMALL, patch_size=2, learn_sigma=True, time_scale=16.0, num_head_channels=16),
    "two levels": UNet(
        **SMALL | {"model_channels": 64, "channel_mult": (0.5, 1.0)},
        resblock_updown=True,
        dtype="bfloat16",
    ),
    "few groups": UNet(**SMALL, norm_num_groups=4),
}
SCHEDULES = {
    "linear-vp": schedules.LinearVP(beta_max=15.0),
    "cosine": schedules.Cosine(),
    "discrete": schedules.Discrete.linear(50),
    "edm": schedules.EDM(sigma_max=40.0),
    "ve": schedules.VE(sigma_max=40.0),
    "flow": schedules.RectifiedFlow(t_max=0.99),
}
assert SCHEDULES.keys() == schedules.SCHEDULES.keys()


def preconditioner(name):
    if name == "wiener":
        return preconditioning.Wiener.fit(
            np.random.default_rng(0).uniform(-1, 1, (20, 8, 8, 3)).astype(np.float32), rank=6
        )
    return preconditioning.EDM(0.37) if name == "edm" else preconditioning.PRECONDITIONINGS[name]()


def weights(network, *inputs, seed=1):
    shapes = jax.eval_shape(network.init, jax.random.key(0), *inputs)["params"]
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), jnp.float32), shapes)


def diffusion(network="plain", schedule="edm", precondition="edm", seed=1):
    network, precondition = NETWORKS[network], preconditioner(precondition)
    inputs = jax.eval_shape(precondition.inputs, jnp.zeros((1, 8, 8, 3)), jnp.ones(()))
    cond = None if network.num_classes is None else jnp.zeros(1, jnp.int32)
    params = weights(network, inputs, jnp.zeros(1), cond, seed=seed)
    return DiffusionModel(
        params, precondition, network=network, schedule=SCHEDULES[schedule], data_shape=(8, 8, 3)
    )


def same(one, other):
    """Equal static parts (the structure holds them) and equal bits in all leaves."""
    assert jax.tree.structure(one) == jax.tree.structure(other)
    leaves, expected = jax.tree.leaves_with_path(one), jax.tree.leaves(other)
    for (path, leaf), expected_leaf in zip(leaves, expected, strict=True):
        assert leaf.dtype == expected_leaf.dtype == np.float32, path
        np.testing.assert_array_equal(leaf, expected_leaf, err_msg=jax.tree_util.keystr(path))


COMBINATIONS = list(itertools.product(preconditioning.PRECONDITIONINGS, SCHEDULES))


@pytest.mark.slow
@pytest.mark.parametrize(
    "index", range(len(COMBINATIONS)), ids=["-".join(names) for names in COMBINATIONS]
)
def test_every_model_comes_back(tmp_path, index):
    precondition, schedule = COMBINATIONS[index]
    # Shifted with every preconditioning, so that a schedule meets several networks.
    network = list(NETWORKS)[(index + index // len(SCHEDULES)) % len(NETWORKS)]
    model, directory = diffusion(network, schedule, precondition), tmp_path / "model"
    assert save_model(directory, model, facts={"data": {"name": "five"}}) == directory
    same(load_model(directory), model)
    assert describe(directory)["data"] == {"name": "five"}


def test_groups_are_told_only_where_they_are_not_the_reference_s(tmp_path):
    """Releases that did not know the option read the other models."""
    for network, told in (("plain", None), ("few groups", 4)):
        save_model(tmp_path / network, diffusion(network), facts={})
        assert describe(tmp_path / network)["network"].get("norm_num_groups") == told


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
def test_float16_rounds_the_weights_and_not_the_statistics(tmp_path, network):
    model = diffusion(network, precondition="wiener")
    save_model(tmp_path / "whole", model, facts={})
    save_model(tmp_path / "half", model, facts={}, dtype="float16")
    rounded = jax.tree.map(lambda leaf: leaf.astype(jnp.float16).astype(jnp.float32), model.params)
    same(load_model(tmp_path / "half"), model.replace(params=rounded))
    sizes = [(tmp_path / name / "weights.safetensors").stat().st_size for name in ("whole", "half")]
    assert sizes[1] < 0.6 * sizes[0]


def test_weights_of_any_memory_order(tmp_path, unchecked):
    """safetensors itself writes arrays of Fortran's order scrambled."""
    model = diffusion()
    turned = jax.tree.map(np.asfortranarray, model.params)
    save_model(tmp_path / "m", model.replace(params=turned), facts={})
    same(load_model(tmp_path / "m"), model)


@pytest.mark.parametrize("number", [np.nan, np.inf, 1e6])
def test_weights_that_float16_cannot_hold_are_named_and_the_older_model_stays(tmp_path, number):
    older, model = diffusion(), diffusion(seed=2)
    save_model(tmp_path / "m", older, facts={})
    model.params["out.2"]["bias"] = jnp.full(3, number)
    words = r"weights params/out\.2/bias are not finite in float16; the model is not written"
    with pytest.raises(ValueError, match=words):
        save_model(tmp_path / "m", model, facts={}, dtype="float16")
    same(load_model(tmp_path / "m"), older)


@pytest.fixture
def small_files():
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_one_sentence_and_the_older_model_stays(tmp_path, request):
    older = diffusion()
    save_model(tmp_path / "m", older, facts={"training": 1}, samples=None)
    request.getfixturevalue("small_files")
    for name in ("m", "new"):
        words = rf"The model could not be written to .*{name} \(.*File too large.*\); nothing"
        with pytest.raises(OSError, match=words) as error:
            save_model(tmp_path / name, diffusion(seed=2), facts={"training": 2})
        assert "\n" not in str(error.value)
    assert os.listdir(tmp_path) == ["m"]
    same(load_model(tmp_path / "m"), older)
    assert describe(tmp_path / "m")["training"] == 1


def test_a_newer_model_takes_the_place_of_an_older_one(tmp_path):
    save_model(tmp_path / "m", diffusion(), facts={})
    (tmp_path / "m" / "training").mkdir()
    (tmp_path / "grid.png").write_bytes(b"png")
    newer = diffusion("classes", "cosine", "velocity", seed=2)
    save_model(tmp_path / "m", newer, facts={}, samples=tmp_path / "grid.png")
    same(load_model(tmp_path / "m"), newer)
    assert sorted(os.listdir(tmp_path / "m")) == [
        "model.json",
        "samples.png",
        "training",
        "weights.safetensors",
    ]


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return save_model(
        tmp_path_factory.mktemp("original") / "model", diffusion(precondition="wiener"), facts={}
    )


@pytest.fixture
def directory(tmp_path, original, unchecked):
    """A model directory to be damaged."""
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in original.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    return copy


def refused(directory, *words, kind=ValueError, load=load_model):
    with pytest.raises(kind) as error:
        load(directory)
    message = str(error.value)
    assert type(error.value) is kind, message
    assert "\n" not in message, message
    assert str(directory) in message, message
    for word in words:
        assert word in message, message


def test_the_copy_is_sound(directory, original):
    same(load_model(directory), load_model(original))


def test_what_is_missing_is_said(directory):
    refused(directory / "none", "it has no model.json", kind=FileNotFoundError)
    (directory / "weights.safetensors").unlink()
    refused(directory, "a model.json but no weights.safetensors", kind=FileNotFoundError)
    (directory / "model.json").unlink()
    refused(directory, "is not a model directory", kind=FileNotFoundError)


@pytest.mark.parametrize("fraction", [0.0, 1e-5, 0.5, 0.9999])
@pytest.mark.parametrize(
    ("name", "words"),
    [("weights.safetensors", "cut short or damaged"), ("model.json", "not valid JSON")],
)
def test_files_cut_short(directory, fraction, name, words):
    size = (directory / name).stat().st_size
    os.truncate(directory / name, min(int(fraction * size), size - 3))
    refused(directory, words)


@pytest.mark.parametrize("text", ["[]", "3", '{"format": "ddib_jax model, version 2"}', "{}"])
def test_another_format(directory, text):
    (directory / "model.json").write_text(text)
    refused(directory, "is not of the format 'ddib_jax model, version 1'")


def edited(directory, part, **changes):
    """Options of a part of model.json changed, or the whole part replaced by `value`."""
    path = directory / "model.json"
    description = json.loads(path.read_text())
    description[part] = changes["value"] if "value" in changes else description[part] | changes
    path.write_text(json.dumps(description))


@pytest.mark.parametrize(
    ("part", "one_known"),
    [("network", "unet"), ("schedule", "linear-vp"), ("preconditioning", "wiener")],
)
@pytest.mark.parametrize("name", ["transformer", None, ["unet"], ""])
def test_unknown_names_are_refused_with_the_known_ones(directory, part, one_known, name):
    edited(directory, part, name=name)
    refused(directory, f"an unknown {part} {name!r}", one_known)


@pytest.mark.parametrize("part", ["network", "schedule", "preconditioning"])
def test_parts_that_are_missing_or_have_unknown_options(directory, part):
    edited(directory, part, colour=3)
    refused(directory, f"describes a {part} that cannot be made", "colour")
    for wrong in ("unet", None, []):
        edited(directory, part, value=wrong)
        refused(directory, f"an unknown {part} None")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model_channels": 64}, ["input_blocks.0.0/bias is (32,), not (64,)", "more."]),
        ({"num_res_blocks": 2}, ["is missing"]),
        ({"num_classes": 5}, ["label_emb/embedding is missing."]),
        (
            {"out_channels": 1},
            [
                "out.2/bias is (3,), not (1,); params/out.2/kernel is (3, 3, 32, 3), not"
                " (3, 3, 32, 1)."
            ],
        ),
        ({"model_channels": 30}, ["cannot be built"]),
        ({"patch_size": 3}, ["cannot be built", "divisible by 3"]),
        ({"patch_size": 0}, ["cannot be built"]),
        ({"model_channels": "many"}, ["cannot be built"]),
        ({"dtype": "float99"}, ["cannot be built"]),
    ],
)
def test_a_network_that_is_not_that_of_the_weights(directory, change, words):
    edited(directory, "network", **change)
    refused(directory, *[word.replace("params/", "") for word in words])


def test_a_schedule_with_values_that_cannot_be(directory):
    edited(directory, "schedule", value={"name": "discrete", "alphas_cumprod": [0.1, 0.9]})
    refused(directory, "describes a schedule that cannot be made: alphas_cumprod must fall")


def test_another_preconditioning_than_that_of_the_statistics(directory):
    edited(directory, "preconditioning", name="velocity")
    refused(directory, "expected none, found ['directions', 'mean', 'rest', 'variances']")


@pytest.mark.parametrize("shape", [None, [], [8, 8, 0], [8, 8, "3"], 8, [8.0, 8, 3]])
def test_an_image_shape_that_is_none(directory, shape):
    edited(directory, "image_shape", value=shape)
    refused(directory, "image shape", repr(shape))


@pytest.mark.parametrize("shape", [[8, 8, 1], [16, 16, 3], [64, 3], [1, 1, 3]])
def test_an_image_shape_that_is_not_that_of_the_statistics(directory, shape):
    edited(directory, "image_shape", value=shape)
    refused(directory, f"does not work on images of shape {tuple(shape)}", "the model is damaged")


def rewritten(directory, change):
    arrays = load_file(directory / "weights.safetensors")
    change(arrays)
    save_file(arrays, directory / "weights.safetensors")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda arrays: arrays.pop("params/out.2/bias"), ["not those", "out.2/bias is missing."]),
        (
            lambda arrays: arrays.update({"params/extra": np.zeros(3)}),
            ["not those", "extra is unknown."],
        ),
        (
            lambda arrays: arrays.update({"params/out.2/bias": np.zeros(4)}),
            ["not those", "out.2/bias is (4,), not (3,)."],
        ),
        (
            lambda arrays: arrays.pop("preconditioning/rest"),
            ["expected ['directions', 'mean', 'rest', 'variances'], found"],
        ),
        (
            lambda arrays: arrays.update({"preconditioning/mode": np.zeros(3)}),
            ["found ['directions', 'mean', 'mode'"],
        ),
        (
            lambda arrays: arrays.update({"preconditioning/variances": np.ones(5)}),
            ["does not work on images of shape (8, 8, 3)"],
        ),
        (
            lambda arrays: arrays.update({"optimiser/mu": np.zeros(3)}),
            ["that no diffusion model has: optimiser/mu."],
        ),
        (
            lambda arrays: arrays.update({"params": np.zeros(3)}),
            ["that no diffusion model has: params."],
        ),
    ],
)
def test_arrays_that_are_missing_or_strange_or_misshapen(directory, change, words):
    rewritten(directory, change)
    refused(directory, *words)


def test_a_classifier_comes_back_and_is_no_diffusion_model(tmp_path, directory):
    network = DigitClassifier(widths=(8, 16), features=8, classes=3)
    params = weights(network, jnp.zeros((1, 8, 8, 3)))
    save_network(
        tmp_path / "c",
        network,
        params,
        kind="classifier",
        image_shape=(8, 8, 3),
        facts={"accuracy": 0.99},
    )
    loaded, classifier = load_network(tmp_path / "c", "classifier")
    assert classifier == network
    assert describe(tmp_path / "c")["accuracy"] == 0.99
    same(loaded, params)
    refused(tmp_path / "c", "holds a classifier model; a diffusion model is needed here")
    refused(
        directory,
        "holds a diffusion model; a classifier model is needed here",
        load=lambda directory: load_network(directory, "classifier"),
    )
    edited(directory, "kind", value=None)
    refused(directory, "a diffusion model is needed here")
    rewritten(tmp_path / "c", lambda arrays: arrays.update({"preconditioning/rest": np.zeros(1)}))
    refused(
        tmp_path / "c",
        "that no classifier model has: preconditioning/rest",
        load=lambda directory: load_network(directory, "classifier"),
    )
