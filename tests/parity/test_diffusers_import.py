"""Folders that diffusers wrote are read: many networks, schedulers, a DDIM decode, and back."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from ddib_jax import pretrained
from ddib_jax.bridge import Bridge
from ddib_jax.diffusion import probability_flow
from ddib_jax.grids import make_grid
from ddib_jax.pretrained.diffusers_scheduler import read_scheduler, scheduler_config
from ddib_jax.schedules import RectifiedFlow
from ddib_jax.solvers import EULER, solve

torch = pytest.importorskip("torch", reason="torch is not installed (extra 'parity')")
diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed (extra 'parity')")

SMALL = {
    "sample_size": 16,
    "block_out_channels": (32, 64),
    "layers_per_block": 1,
    "norm_num_groups": 8,
}
PLAIN = {
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
}
CONFIGURATIONS = {
    "as DDPM": PLAIN
    | {
        "downsample_padding": 0,
        "flip_sin_to_cos": False,
        "freq_shift": 1,
        "norm_eps": 1e-6,
        "attention_head_dim": None,
    },
    "attention on every level": {
        "down_block_types": ("AttnDownBlock2D",) * 2,
        "up_block_types": ("AttnUpBlock2D",) * 2,
    },
    "residual resampling": {
        "down_block_types": ("ResnetDownsampleBlock2D",) * 2,
        "up_block_types": ("ResnetUpsampleBlock2D",) * 2,
    },
    "attention with residual resampling": PLAIN
    | {
        "down_block_types": ("AttnDownBlock2D",) * 2,
        "up_block_types": ("AttnUpBlock2D",) * 2,
        "downsample_type": "resnet",
        "upsample_type": "resnet",
    },
    "classes": PLAIN | {"num_class_embeds": 5},
    "labels as time": PLAIN | {"class_embed_type": "timestep"},
    "scale and shift": PLAIN | {"resnet_time_scale_shift": "scale_shift"},
    "scale, shift and a norm in the middle": PLAIN
    | {"resnet_time_scale_shift": "scale_shift", "attn_norm_num_groups": 4},
    "no attention in the middle": PLAIN | {"add_attention": False},
    "no middle": PLAIN | {"mid_block_type": None},
    "scaled middle": PLAIN | {"mid_block_scale_factor": 1.7},
    "three levels, odd sizes": {
        "sample_size": (24, 20),
        "block_out_channels": (24, 40, 48),
        "layers_per_block": 2,
        "attention_head_dim": 16,
        "down_block_types": ("DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
    },
    "mish, centred, grey to two": PLAIN
    | {"act_fn": "mish", "center_input_sample": True, "in_channels": 1, "out_channels": 2},
    "gelu, wider time": PLAIN | {"act_fn": "gelu", "time_embedding_dim": 96},
    "learned time": PLAIN | {"time_embedding_type": "learned", "num_train_timesteps": 1000},
    "labels as embeddings": PLAIN | {"class_embed_type": "identity"},
    "fourier": PLAIN | {"time_embedding_type": "fourier"},
}


def nchw(x):
    return torch.from_numpy(x.transpose(0, 3, 1, 2))


def nhwc(tensor):
    return tensor.numpy().transpose(0, 2, 3, 1)


def write_folder(folder, options, *, scheduler=None):
    """A network of random weights and its scheduler as diffusers saves them."""
    torch.manual_seed(0)
    network = diffusers.UNet2DModel(**SMALL | options).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    network.save_pretrained(folder / "unet")
    (scheduler or diffusers.DDPMScheduler()).save_pretrained(folder / "scheduler")
    return network


def noise_like(model):
    return np.random.default_rng(0).normal(size=(2, *model.data_shape)).astype(np.float32)


def relative(actual, expected):
    return float(np.linalg.norm(actual - expected) / np.linalg.norm(expected))


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_networks_agree(tmp_path, name):
    twin = write_folder(tmp_path, CONFIGURATIONS[name])
    model = pretrained.load(tmp_path)
    x, time = noise_like(model), np.asarray([3.0, 700.0], np.float32)
    conditional = "labels" in name or "classes" in name
    labels = np.asarray([1, 4]) if conditional else None
    if "embeddings" in name:
        labels = np.random.default_rng(1).normal(size=(2, 128)).astype(np.float32)
    with torch.no_grad():
        torch_labels = None if labels is None else torch.from_numpy(labels)
        step = torch.from_numpy(time).long() if name == "learned time" else torch.from_numpy(time)
        expected = nhwc(twin(nchw(x), step, torch_labels).sample)
    output = model.network.apply(
        {"params": model.params},
        jnp.asarray(x),
        jnp.asarray(time),
        None if labels is None else jnp.asarray(labels),
    )
    assert relative(np.asarray(output), expected) < 1e-4


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("betas", ["linear", "scaled_linear", "squaredcos_cap_v2"])
def test_a_decode_by_ddim_agrees(tmp_path, prediction, betas):
    """25 steps of diffusers' DDIM, unclipped, are 25 steps of Euler on its noise levels."""
    options = {"beta_schedule": betas, "prediction_type": prediction, "clip_sample": False}
    scheduler = diffusers.DDIMScheduler(
        **options, set_alpha_to_one=False, timestep_spacing="leading"
    )
    twin = write_folder(tmp_path, PLAIN, scheduler=scheduler)
    model = pretrained.load(tmp_path)
    scheduler.set_timesteps(25)
    noise = noise_like(model)
    x = nchw(noise)
    with torch.no_grad():
        for step in scheduler.timesteps:
            x = scheduler.step(twin(x, step).sample, step, x).prev_sample
    # The last step ends at the first entry of the table.
    times = np.asarray([*scheduler.timesteps.numpy(), 0])
    alpha_bar = scheduler.alphas_cumprod.numpy().astype(np.float64)[times]
    sigmas = jnp.asarray(np.sqrt((1 - alpha_bar) / alpha_bar), jnp.float32)
    if sigmas[-1] == sigmas[-2]:
        sigmas = sigmas[:-1]
    start = jnp.asarray(noise) * jnp.sqrt(1 + sigmas[0] ** 2)
    decoded = solve(EULER, probability_flow(model), start, sigmas).y
    decoded = np.asarray(decoded / jnp.sqrt(1 + sigmas[-1] ** 2))
    assert relative(decoded, nhwc(x)) < 1e-3


STABLE = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}


@pytest.mark.parametrize("count", [1000, 400])
@pytest.mark.parametrize("steps", [1, 2, 7, 25, 50, 64, 160])
@pytest.mark.parametrize(("grid", "spacing"), [("ddim", "leading"), ("ddim-trailing", "trailing")])
def test_grids_of_ddim_are_diffusers(tmp_path, grid, spacing, steps, count):
    scheduler = diffusers.DDIMScheduler(
        **STABLE,
        num_train_timesteps=count,
        steps_offset=1,
        set_alpha_to_one=False,
        timestep_spacing=spacing,
    )
    schedule, _ = read_scheduler(tmp_path, dict(scheduler.config))
    scheduler.set_timesteps(steps)
    # The last step ends at time 0.
    bar = scheduler.alphas_cumprod.numpy().astype(np.float64)[[0, *scheduler.timesteps.flip(0)]]
    expected = np.sqrt((1 - bar) / bar)
    np.testing.assert_allclose(make_grid(grid, schedule, steps), expected, rtol=2e-5)


def test_a_decode_from_zero_terminal_snr_agrees(tmp_path):
    """25 trailing steps of v-prediction from nothing but noise, but for the 2^-24 of the data."""
    scheduler = diffusers.DDIMScheduler(
        **STABLE,
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        set_alpha_to_one=False,
        clip_sample=False,
    )
    twin = write_folder(tmp_path, PLAIN, scheduler=scheduler)
    model = pretrained.load(tmp_path)
    theirs = scheduler.alphas_cumprod.numpy()
    ours = np.asarray(model.schedule.alphas_cumprod)
    np.testing.assert_allclose(ours[:-1], theirs[:-1], rtol=1e-3, atol=1e-7)
    assert theirs[-1] == 0
    assert model.schedule.sigma_range[1] == pytest.approx(4096, rel=1e-6)
    scheduler.set_timesteps(25)
    noise = noise_like(model)
    x = nchw(noise)
    with torch.no_grad():
        for step in scheduler.timesteps:
            x = scheduler.step(twin(x, step).sample, step, x).prev_sample
    bridge = Bridge.over(model, steps=25, grid="ddim-trailing", solver=EULER)
    decoded = bridge.decode(jnp.asarray(noise)) / jnp.sqrt(1 + bridge.sigmas[0] ** 2)
    assert relative(np.asarray(decoded), nhwc(x)) < 2e-3


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_a_rectified_flow_agrees(tmp_path, shift):
    """Euler steps of diffusers' rectified flow are Euler steps in our coordinates."""
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=shift)
    twin = write_folder(tmp_path, PLAIN, scheduler=scheduler)
    model = pretrained.load(tmp_path)
    assert model.schedule == RectifiedFlow(1000.0)
    scheduler.set_timesteps(20)
    steps, times = scheduler.timesteps[1:], scheduler.sigmas[1:].numpy().astype(np.float64)
    noise = noise_like(model)
    x = nchw(noise)
    with torch.no_grad():
        for index, step in enumerate(steps):
            velocity = twin(x, step).sample
            x = x + (scheduler.sigmas[index + 2] - scheduler.sigmas[index + 1]) * velocity
            if index == len(steps) - 2:
                break  # above the last time, which is 0, and has no noise level that is positive
    sigmas = jnp.asarray(times[:-1] / (1 - times[:-1]), jnp.float32)
    start = jnp.asarray(noise) * (1 + sigmas[0])
    decoded = solve(EULER, probability_flow(model), start, sigmas).y / (1 + sigmas[-1])
    assert relative(np.asarray(decoded), nhwc(x)) < 1e-3
    written = scheduler_config(model)
    again = read_scheduler(tmp_path, written)
    assert again == (model.schedule, model.precondition)


def test_an_edm_scheduler_is_understood(tmp_path):
    scheduler = diffusers.EDMEulerScheduler(sigma_min=0.01, sigma_max=50.0, sigma_data=0.6)
    twin = write_folder(tmp_path, PLAIN, scheduler=scheduler)
    model = pretrained.load(tmp_path)
    assert model.schedule.sigma_range == (0.01, 50.0)
    x, sigma = noise_like(model), 3.0
    inputs = scheduler.precondition_inputs(nchw(x), torch.tensor(sigma))
    with torch.no_grad():
        output = twin(
            inputs, torch.as_tensor(scheduler.precondition_noise(sigma)).reshape(1)
        ).sample
    expected = scheduler.precondition_outputs(nchw(x), output, torch.tensor(sigma))
    denoised = np.asarray(model.denoise(jnp.asarray(x), jnp.asarray(sigma)))
    assert relative(denoised, nhwc(expected)) < 1e-4


@pytest.mark.parametrize("name", ["as DDPM", "classes", "scale and shift"])
def test_there_and_back_is_exact(tmp_path, name):
    twin = write_folder(tmp_path / "theirs", CONFIGURATIONS[name])
    pretrained.save_diffusers(tmp_path / "ours", pretrained.load(tmp_path / "theirs"))
    again = diffusers.UNet2DModel.from_pretrained(tmp_path / "ours" / "unet")
    mine, yours = again.state_dict(), twin.state_dict()
    assert mine.keys() == yours.keys()
    assert all(torch.equal(mine[key], yours[key]) for key in yours)
    scheduler = diffusers.DDPMScheduler.from_pretrained(tmp_path / "ours" / "scheduler")
    assert scheduler.config.clip_sample is False


def test_names_from_before_0_17_are_known(tmp_path):
    from safetensors.torch import load_file, save_file

    write_folder(tmp_path, PLAIN)
    model = pretrained.load(tmp_path)
    path = tmp_path / "unet" / "diffusion_pytorch_model.safetensors"
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    state = {}
    for key, value in load_file(path).items():
        for new, name in old.items():
            key = key.replace(f".{new}.", f".{name}.") if "attentions" in key else key
        state[key] = value
    save_file(state, path)
    again = pretrained.load(tmp_path)
    assert jnp.array_equal(
        again.params["mid_block.attentions.0"]["to_q"]["kernel"],
        model.params["mid_block.attentions.0"]["to_q"]["kernel"],
    )


def test_a_bin_is_read_without_torch_running(tmp_path):
    twin = write_folder(tmp_path, PLAIN)
    expected = pretrained.load(tmp_path)
    (tmp_path / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    torch.save(twin.state_dict(), tmp_path / "unet" / "diffusion_pytorch_model.bin")
    loaded = pretrained.load(tmp_path)
    assert jnp.array_equal(loaded.params["conv_in"]["kernel"], expected.params["conv_in"]["kernel"])


@pytest.mark.parametrize(
    ("file", "option", "value", "words"),
    [
        ("unet", "down_block_types", ["SkipDownBlock2D", "DownBlock2D"], "SkipDownBlock2D"),
        ("unet", "class_embed_type", "simple_projection", "class_embed_type = 'simple_projection'"),
        ("unet", "time_embedding_type", "rotary", "time_embedding_type = 'rotary'"),
        ("unet", "attention_flavour", 3, "unknown option attention_flavour"),
        ("unet", "block_out_channels", [32, 48], "which makes"),
        ("scheduler", "prediction_type", "flow", "prediction_type = 'flow' is not supported"),
        ("scheduler", "beta_schedule", "exotic", "beta_schedule = 'exotic' is not supported"),
        ("scheduler", "rescale_betas_zero_snr", True, "nothing but noise"),
    ],
)
def test_what_is_not_supported_is_named(tmp_path, file, option, value, words):
    write_folder(tmp_path, PLAIN)
    path = tmp_path / file / {"unet": "config.json", "scheduler": "scheduler_config.json"}[file]
    path.write_text(json.dumps(json.loads(path.read_text()) | {option: value}))
    with pytest.raises(ValueError, match=words):
        pretrained.load(tmp_path)
