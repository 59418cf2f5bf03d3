"""Checkpoints of other libraries, written here from random weights, are read and written.

Flags, strictness, classes, the hub, and the way back.
"""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddib_jax import preconditioning, pretrained, schedules
from ddib_jax.bridge import Bridge
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.nets import NoisyClassifier, UNet, UNet2D
from ddib_jax.nets.encoder import POOLS
from ddib_jax.preconditioning import Epsilon, Velocity
from ddib_jax.pretrained.diffusers_scheduler import read_scheduler
from ddib_jax.pretrained.torch_names import state_dict
from ddib_jax.pretrained.torch_writer import save_state_dict
from ddib_jax.schedules import Discrete
from ddib_jax.solvers import get_solver

SHAPE = (16, 16, 3)


@functools.cache
def randomised(network, *, seed=0, labelled=False):
    """Random weights of a network, none of them zero; compiled once for equal networks."""
    labels = (jnp.zeros(1, jnp.int32),) if labelled else ()
    inputs = (jnp.zeros((1, *SHAPE)), jnp.zeros(1), *labels)
    params = jax.jit(network.init)(jax.random.key(seed), *inputs)["params"]
    noise = np.random.default_rng(seed)
    return jax.tree.map(
        lambda leaf: leaf + 0.05 * noise.normal(size=leaf.shape).astype(np.float32), params
    )


def adm_model(**options):
    network = UNet(
        model_channels=32,
        channel_mult=(1, 2),
        attention_resolutions=(8,),
        num_head_channels=16,
        **options,
    )
    return DiffusionModel(
        randomised(network, labelled=network.num_classes is not None),
        Epsilon(),
        network=network,
        schedule=Discrete.cosine(100),
        data_shape=SHAPE,
    )


def same(one, other):
    return jax.tree.all(jax.tree.map(np.array_equal, one.params, other.params))


@pytest.fixture
def written(tmp_path):
    """A class-conditional guided-diffusion checkpoint with its flags beside it."""
    model = adm_model(num_classes=4, learn_sigma=True, resblock_updown=True)
    state, flags = pretrained.to_guided_diffusion(model)
    save_state_dict(tmp_path / "model.pt", state)
    (tmp_path / "flags.json").write_text(json.dumps(flags))
    return tmp_path / "model.pt", model, state


def change_flags(path, flags):
    file = path.with_name("flags.json")
    file.write_text(json.dumps(json.loads(file.read_text()) | flags))


@pytest.mark.slow
def test_guided_diffusion_there_and_back(written):
    path, model, _ = written
    loaded = pretrained.load(path)
    assert same(loaded, model)
    assert loaded.network == model.network
    assert loaded.schedule == model.schedule
    assert len(pretrained.open(path).fingerprint) == 16
    assert pretrained.open(path).classes == ()
    assert pretrained.open(path).facts == {}


@pytest.mark.slow
def test_levels_that_flags_leave_to_the_size_are_read_off_the_weights(written):
    path, model, _ = written
    change_flags(path, {"channel_mult": ""})
    assert pretrained.load(path).network == model.network


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"learn_sigma": False}, r"out.2.bias is \(6,\)"),
        ({"num_res_blocks": 2}, "is missing"),
        ({"use_scale_shift_norm": False}, "emb_layers"),
        ({"class_cond": False}, "label_emb.weight is unknown"),
        ({"noise_schedule": "secret"}, "noise_schedule = 'secret' is not known"),
        ({"flavour": 1}, "unknown flavour"),
        ({"num_res_blocks": "two"}, "num_res_blocks = 'two' is not of the kind of 2"),
        ({"num_channels": 0}, "num_channels = 0 is not of the kind"),
        ({"predict_xstart": 1}, "predict_xstart = 1 is not of the kind of False"),
        ({"diffusion_steps": None}, "diffusion_steps = None is not of the kind"),
        ({"num_heads_upsample": 2}, "num_heads_upsample = 2 differs"),
    ],
)
def test_flags_that_do_not_fit_are_named(written, flags, words):
    change_flags(written[0], flags)
    with pytest.raises(ValueError, match=words):
        pretrained.load(written[0])


def test_flags_may_be_those_of_a_command_line(written):
    path, model, _ = written
    words = {"class_cond": "True", "predict_xstart": "False"}
    change_flags(path, words | {"channel_mult": [1, 2], "num_channels": 32.0})
    assert same(pretrained.load(path), model)


def test_flags_must_say_whether_times_are_scaled(written):
    flags = json.loads((written[0].parent / "flags.json").read_text())
    del flags["rescale_timesteps"]
    (written[0].parent / "flags.json").write_text(json.dumps(flags))
    with pytest.raises(ValueError, match="no rescale_timesteps"):
        pretrained.load(written[0])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda state: state.pop("out.2.bias"), "out.2.bias is missing"),
        (lambda state: state.update(extra=np.ones(2, np.float32)), "extra is unknown"),
        (
            lambda state: state.update({"out.2.bias": np.ones(5, np.float32)}),
            r"out.2.bias is \(5,\)",
        ),
        (
            lambda state: state.update({"out.2.bias": np.full(6, np.nan, np.float32)}),
            "out.2.bias is not finite",
        ),
    ],
)
def test_weights_that_do_not_fit_are_named(written, change, words):
    path, _, state = written
    change(state)
    save_state_dict(path, state)
    with pytest.raises(ValueError, match=words):
        pretrained.load(path)


def test_missing_or_broken_flags_are_said(written):
    path = written[0]
    (path.parent / "flags.json").write_text("{")
    with pytest.raises(ValueError, match="not valid JSON"):
        pretrained.load(path)
    (path.parent / "flags.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"The flags of .* are not beside it"):
        pretrained.load(path)


def test_published_checkpoints_need_no_flags(written):
    path = written[0]
    (path.parent / "flags.json").unlink()
    published = path.rename(path.with_name("256x256_diffusion.pt"))
    # Its flags are known, but these are not its weights.
    words = (
        r"that the options of .*256x256_diffusion\.pt describe"
        r"|are not those that its options describe"
    )
    with pytest.raises(ValueError, match=words):
        pretrained.load(published)


@pytest.mark.slow
@pytest.mark.parametrize("pool", POOLS)
def test_noisy_classifiers_of_every_pool(tmp_path, pool):
    network = NoisyClassifier(
        model_channels=64,
        channel_mult=(1, 1),
        num_res_blocks=1,
        attention_resolutions=(8,),
        num_head_channels=64,
        resblock_updown=True,
        num_classes=3,
        pool=pool,
    )
    params = randomised(network)
    state = state_dict(params, positions=("qkv", "proj_out", "qkv_proj", "c_proj"))
    if pool == "adaptive":
        assert state["out.3.weight"].shape == (3, 64, 1, 1)
    save_state_dict(tmp_path / "classifier.pt", state)
    flags = {
        "image_size": 16,
        "classifier_width": 64,
        "classifier_depth": 1,
        "classifier_attention_resolutions": "8",
        "classifier_pool": pool,
        "out_channels": 3,
    }
    (tmp_path / "classifier.json").write_text(json.dumps(flags))
    loaded, classifier = pretrained.load_noisy_classifier(tmp_path / "classifier.pt")
    assert classifier == network
    assert jax.tree.all(jax.tree.map(np.array_equal, loaded, params))
    logits = classifier.apply({"params": loaded}, jnp.zeros((2, *SHAPE)), jnp.zeros(2))
    assert logits.shape == (2, 3)
    assert bool(jnp.isfinite(logits).all())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("precondition", "schedule"),
    [
        (Epsilon(), Discrete.linear(1000)),
        (Velocity(), Discrete.cosine(50)),
        (preconditioning.EDM(0.4), schedules.EDM(0.01, 30.0)),
    ],
    ids=["epsilon", "velocity", "edm"],
)
def test_diffusers_there_and_back(tmp_path, precondition, schedule):
    network = UNet2D(
        block_out_channels=(32, 64),
        layers_per_block=1,
        norm_num_groups=8,
        num_class_embeds=3,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    )
    model = DiffusionModel(
        randomised(network, labelled=True),
        precondition,
        network=network,
        schedule=schedule,
        data_shape=SHAPE,
    )
    pretrained.save_diffusers(tmp_path / "folder", model)
    loaded = pretrained.load(tmp_path / "folder")
    assert same(loaded, model)
    assert loaded.network == network
    assert loaded.precondition == precondition
    np.testing.assert_allclose(loaded.schedule.sigma_range, schedule.sigma_range, rtol=1e-12)
    pretrained.save_model(tmp_path / "native", loaded, facts={"data": {}, "training": {}})
    assert same(pretrained.load(tmp_path / "native"), model)


@pytest.mark.slow
@pytest.mark.parametrize("groups", [32, 8])
def test_an_adm_network_goes_to_diffusers(tmp_path, groups):
    model = adm_model().replace(schedule=Discrete.linear(1000))
    model = model.replace(network=model.network.clone(norm_num_groups=groups))
    pretrained.save_diffusers(tmp_path / "folder", model)
    loaded, sigma = pretrained.load(tmp_path / "folder"), jnp.asarray(1.5)
    x = jax.random.normal(jax.random.key(0), (2, *SHAPE))
    np.testing.assert_allclose(loaded.denoise(x, sigma), model.denoise(x, sigma), atol=2e-5)


@pytest.mark.parametrize(
    "writer",
    [pretrained.to_guided_diffusion, lambda model: pretrained.save_diffusers("nowhere", model)],
)
def test_what_others_cannot_hold_is_refused(writer):
    model = pretrained.load("five")
    with pytest.raises(ValueError, match="patch stem"):
        writer(model)


def test_few_groups_are_not_written_for_guided_diffusion():
    model = adm_model()
    with pytest.raises(ValueError, match="norms of 32 groups"):
        pretrained.to_guided_diffusion(
            model.replace(network=model.network.clone(norm_num_groups=8))
        )


class GaussianFlow:
    """The velocity E[noise - data | x_t] of data from N(mean, std^2), at times from 0 to 1000."""

    mean, std = 0.4, 0.3

    def apply(self, variables, x, time, cond=None, **options):
        t = (time / 1000)[:, None, None, None]
        variance = (1 - t) ** 2 * self.std**2 + t**2
        slope = (t - (1 - t) * self.std**2) / variance
        return slope * (x - (1 - t) * self.mean) - self.mean

    def init(self, key, x, time, cond=None):
        return {"params": {}}

    def condition_spec(self):
        return None


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_a_rectified_flow_is_exact_on_a_gaussian(tmp_path, shift):
    """Its shift is of the times that a pipeline steps along, which are ours to choose."""
    config = {
        "_class_name": "FlowMatchEulerDiscreteScheduler",
        "num_train_timesteps": 1000,
        "shift": shift,
        "use_dynamic_shifting": False,
    }
    schedule, precondition = read_scheduler(tmp_path, config)
    network = GaussianFlow()
    model = DiffusionModel(
        {}, precondition, network=network, schedule=schedule, data_shape=(2, 2, 3)
    )
    gap = jnp.asarray(np.random.default_rng(0).normal(size=(3, 2, 2, 3)), jnp.float32)
    for sigma in (0.01, 0.3, 2.0, 50.0):
        x = network.mean + jnp.hypot(network.std, sigma) * gap
        gain = network.std**2 / (network.std**2 + sigma**2)
        expected = network.mean + gain * (x - network.mean)
        np.testing.assert_allclose(model.denoise(x, jnp.asarray(sigma)), expected, atol=2e-5)
    bridge = Bridge.over(model, steps=100, solver=get_solver("rk4"))
    data = network.mean + jnp.hypot(network.std, bridge.sigmas[0]) * gap
    latent = network.mean + jnp.hypot(network.std, bridge.sigmas[-1]) * gap
    np.testing.assert_allclose(bridge.encode(data), latent / bridge.scale, atol=1e-4)


@pytest.mark.parametrize(
    ("file", "change", "words"),
    [
        (
            "model_index.json",
            {"vqvae": ["diffusers", "VQModel"]},
            "of the class DDPMPipeline, which is not read",
        ),
        ("unet/config.json", {"out_channels": 5}, "makes 5 channels of 3"),
        (
            "scheduler/scheduler_config.json",
            {"timestep_type": "continuous"},
            "timestep_type = 'continuous'",
        ),
        ("scheduler/scheduler_config.json", {"_class_name": None}, "cannot be understood"),
    ],
)
def test_folders_that_mean_something_else_are_refused(tmp_path, file, change, words):
    model = adm_model().replace(schedule=Discrete.linear(1000))
    pretrained.save_diffusers(tmp_path / "folder", model)
    path = tmp_path / "folder" / file
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ValueError, match=words):
        pretrained.load(tmp_path / "folder")
    with pytest.raises(FileExistsError, match="holds a model already"):
        pretrained.save_diffusers(tmp_path / "folder", adm_model())


def test_a_folder_of_another_pipeline_is_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"_class_name": "UNet2DConditionModel"}))
    with pytest.raises(ValueError, match="only UNet2DModel is read"):
        pretrained.load(tmp_path)


def test_the_hub(tmp_path, monkeypatch):
    """What the hub's client is asked for, and that its folder is read; nothing is downloaded."""
    hub = pytest.importorskip(
        "huggingface_hub", reason="huggingface_hub is not installed (extra 'hub')"
    )
    model = adm_model().replace(schedule=Discrete.linear(1000))
    pretrained.save_diffusers(tmp_path / "folder", model)
    requests, patterns = set(), []

    def snapshot_download(name, *, revision, allow_patterns):
        requests.add((name, revision))
        patterns.append(allow_patterns)
        return str(tmp_path / "folder")

    monkeypatch.setattr(hub, "snapshot_download", snapshot_download)
    assert pretrained.load("hf:somebody/something@main").data_shape == SHAPE
    assert requests == {("somebody/something", "main")}
    descriptions = ["*.json", "*merges.txt"]
    whole = "*diffusion_pytorch_model.safetensors"
    assert patterns == [descriptions, [*descriptions, whole]]
    monkeypatch.undo()
    with pytest.raises(ValueError, match="is no name of the hub"):
        pretrained.load("hf:not a name")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(OSError, match="cannot be had from the hub"):
        pretrained.load("hf:somebody/something-that-is-not-there")
