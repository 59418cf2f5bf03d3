"""A whole model in one file of CompVis' layout, whose names diffusers' own reader knows."""

import shutil

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from ddib_jax import pretrained
from ddib_jax.nets import AutoencoderKL, CLIPText, UNet2DCondition
from ddib_jax.pretrained import single_file
from ddib_jax.pretrained.compvis_names import autoencoder_key, unet_key
from ddib_jax.pretrained.single_file import Family

pipelines = pytest.importorskip("tests.pretrained.pipelines")
theirs = pytest.importorskip("diffusers.loaders.single_file_utils")
torch = pipelines.torch

OPTIONS, XL_OPTIONS = (
    {name: value for name, value in options.items() if name != "sample_size"}
    for options in (pipelines.UNET, pipelines.XL_UNET)
)
_CLIP = {
    "vocab_size": pipelines.VOCABULARY,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "eos_token_id": pipelines.VOCABULARY - 1,
}
TINY = {
    "Stable Diffusion 1": Family(
        UNet2DCondition(**OPTIONS, cross_attention_dim=16),
        AutoencoderKL(**pipelines.VAE),
        (("cond_stage_model.transformer.", CLIPText(**_CLIP)),),
        0.18215,
        16,
    ),
    "Stable Diffusion 2": Family(
        UNet2DCondition(
            **OPTIONS | {"attention_head_dim": (2, 3), "use_linear_projection": True},
            cross_attention_dim=16,
        ),
        AutoencoderKL(**pipelines.VAE),
        (("cond_stage_model.model.", CLIPText(**_CLIP | {"hidden_act": "gelu"})),),
        0.18215,
        8,
        velocity_size=16,
    ),
    "Stable Diffusion XL": Family(
        UNet2DCondition(**XL_OPTIONS, cross_attention_dim=36),
        AutoencoderKL(**pipelines.VAE),
        (
            ("conditioner.embedders.0.transformer.", CLIPText(**_CLIP)),
            (
                "conditioner.embedders.1.model.",
                CLIPText(**_CLIP | {"hidden_size": 20, "hidden_act": "gelu", "projection_dim": 20}),
            ),
        ),
        0.13025,
        16,
    ),
}
MAKERS = {
    "Stable Diffusion 1": pipelines.stable_diffusion,
    "Stable Diffusion 2": pipelines.stable_diffusion_2,
    "Stable Diffusion XL": pipelines.stable_diffusion_xl,
}


def compvis_names(family, levels=2, layers=3, blocks=12):
    """Names of CompVis' layout that a U-Net and an autoencoder of this size could have."""
    resnet = ("in_layers.0", "in_layers.2", "emb_layers.1", "out_layers.0", "out_layers.3")
    resnet = (*resnet, "skip_connection")
    attention = ["norm", "proj_in", "proj_out"]
    for block in range(2):
        inner = f"transformer_blocks.{block}"
        attention += [f"{inner}.{name}" for name in ("norm1", "norm2", "norm3")]
        for name in ("attn1", "attn2"):
            attention += [
                f"{inner}.{name}.{layer}" for layer in ("to_q", "to_k", "to_v", "to_out.0")
            ]
        attention += [f"{inner}.ff.net.0.proj", f"{inner}.ff.net.2"]
    unet = ["time_embed.0", "time_embed.2", "label_emb.0.0", "label_emb.0.2", "out.0", "out.2"]
    unet += ["input_blocks.0.0"]
    for half in ("input_blocks", "output_blocks"):
        for block in range(blocks):
            name = f"{half}.{block}"
            unet += [f"{name}.0.{layer}" for layer in resnet]
            unet += [f"{name}.1.{layer}" for layer in attention]
            unet += [f"{name}.0.op", f"{name}.1.conv", f"{name}.2.conv"]
    unet += [f"middle_block.{place}.{layer}" for place in (0, 2) for layer in resnet]
    unet += [f"middle_block.1.{layer}" for layer in attention]
    autoencoder = ["quant_conv", "post_quant_conv"]
    for half, side, resample in (("encoder", "down", "downsample"), ("decoder", "up", "upsample")):
        autoencoder += [f"{half}.{layer}" for layer in ("conv_in", "norm_out", "conv_out")]
        block = ("norm1", "conv1", "norm2", "conv2", "nin_shortcut")
        middle = [f"{half}.mid.block_{place}.{layer}" for place in (1, 2) for layer in block]
        autoencoder += middle
        autoencoder += [
            f"{half}.mid.attn_1.{layer}" for layer in ("norm", "q", "k", "v", "proj_out")
        ]
        for level in range(levels):
            name = f"{half}.{side}.{level}"
            autoencoder += [f"{name}.{resample}.conv"]
            autoencoder += [f"{name}.block.{i}.{layer}" for i in range(layers) for layer in block]
    return unet, autoencoder


def inverse(names, key_of):
    """diffusers' name -> CompVis' name, of those that our map knows."""
    found = {}
    for name in names:
        for word in ("weight", "bias"):
            try:
                found.setdefault(key_of(f"{name}.{word}"), f"{name}.{word}")
            except ValueError:
                continue
    return found


def written(path, kind, tmp_path):
    """One file of a pipeline's weights, and the pipeline."""
    pipeline, family = MAKERS[kind](tmp_path), TINY[kind]
    pipeline.save_pretrained(tmp_path / "folder")
    unet, autoencoder = compvis_names(family)
    state = {}
    names = inverse(unet, lambda key: unet_key(family.unet, key))
    for key, value in pipeline.unet.state_dict().items():
        state[f"model.diffusion_model.{names[key]}"] = value
    names = inverse(autoencoder, lambda key: autoencoder_key(family.autoencoder, key))
    for key, value in pipeline.vae.state_dict().items():
        # convolutions of width 1, in the autoencoders of old
        wide = value[..., None, None] if ".attentions." in key and value.ndim == 2 else value
        state[f"first_stage_model.{names[key]}"] = wide
    for prefix, encoder in zip(
        [prefix for prefix, _ in family.encoders],
        [pipeline.text_encoder, getattr(pipeline, "text_encoder_2", None)],
        strict=False,
    ):
        state |= as_stored(prefix, encoder.state_dict())
    state |= {"alphas_cumprod": torch.ones(3), "first_stage_model.loss.logvar": torch.ones(1)}
    arrays = {key: np.ascontiguousarray(value.numpy()) for key, value in state.items()}
    save_file(arrays, path)
    if family.velocity_size:
        path.with_suffix(".yaml").write_text('model:\n  params:\n    parameterization: "v"\n')
    for name in ("tokenizer", "tokenizer_2"):
        if (tmp_path / "folder" / name).is_dir():
            shutil.copytree(tmp_path / "folder" / name, path.parent / name)
    return pipeline


def as_stored(prefix, state):
    """A text encoder as such files have it: by its own names, or as open_clip's."""
    state = {
        key if key.startswith(("text_model.", "text_projection.")) else f"text_model.{key}": value
        for key, value in state.items()
    }
    if not prefix.endswith(".model."):
        return {prefix + key: value for key, value in state.items()}
    names = theirs.DIFFUSERS_TO_LDM_MAPPING["openclip"]
    stored = {f"{prefix}logit_scale": torch.ones(())}
    for key, value in state.items():
        if key in names["layers"]:
            transposed = key == "text_projection.weight"
            stored[prefix + names["layers"][key]] = value.T if transposed else value
        elif ".q_proj." in key:
            parts = [state[key.replace(".q_proj.", f".{letter}_proj.")] for letter in "qkv"]
            module = key.rpartition(".self_attn.")[0].replace("text_model.encoder.layers.", "")
            word = key.rpartition(".")[2]
            name = f"transformer.resblocks.{module}.attn.in_proj_{word}"
            stored[prefix + name] = torch.cat(parts)
        elif ".k_proj." not in key and ".v_proj." not in key:
            name = key
            for new, old in names["transformer"].items():
                name = name.replace(new, old)
            stored[f"{prefix}transformer.{name}"] = value
    if "text_projection.weight" not in state:  # of Stable Diffusion 2, with a layer that is unused
        stored[f"{prefix}text_projection"] = torch.ones(16, 16)
        last, beyond = f"{prefix}transformer.resblocks.2.", f"{prefix}transformer.resblocks.3."
        stored |= {k.replace(last, beyond): v for k, v in stored.items() if k.startswith(last)}
    return stored


@pytest.fixture(scope="module", params=MAKERS)
def one_file(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("one") / "model.safetensors"
    pipeline = written(path, request.param, tmp_path_factory.mktemp("parts"))
    return request.param, path, pipeline


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setattr(single_file, "FAMILIES", TINY)


def test_diffusers_reads_the_same_file(one_file):
    """So that the names written here are those of CompVis' layout and not of our own making."""
    kind, path, pipeline = one_file
    state = {key: torch.from_numpy(value) for key, value in load_file(path).items()}
    config = dict(pipeline.unet.config)
    found = theirs.convert_ldm_unet_checkpoint(dict(state), config)
    expected = pipeline.unet.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], expected[key]) for key in expected)
    found = theirs.convert_ldm_vae_checkpoint(dict(state), dict(pipeline.vae.config))
    expected = pipeline.vae.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key].reshape(expected[key].shape), expected[key]) for key in found)
    if kind == "Stable Diffusion 2":
        encoder = pipeline.text_encoder
        found = theirs.convert_open_clip_checkpoint(encoder, state)
        found = {key.removeprefix("text_model."): value for key, value in found.items()}
        for key, value in encoder.state_dict().items():
            assert torch.equal(found[key.removeprefix("text_model.")], value)


def test_a_file_is_its_pipeline(one_file):
    kind, path, _ = one_file
    assert pretrained.open(path).format is pretrained.FORMATS["single-file"]
    model, text = pretrained.load(path), pretrained.open(path).conditioner(["a photo", ""])
    assert model.image_shape == (32, 32, 3)
    assert model.data_shape == (16, 16, 4)
    assert ("pooled" in text) == (kind == "Stable Diffusion XL")


def test_weights_and_texts_are_the_pipelines(one_file, tmp_path):
    _, path, pipeline = one_file
    pipeline.save_pretrained(tmp_path / "folder")
    one, other = pretrained.open(path), pretrained.open(tmp_path / "folder")
    assert one.model().network == other.model().network
    for found, expected in (
        (one.model().params, other.model().params),
        (one.model().codec.params, other.model().codec.params),
        (one.conditioner(["a cat"]), other.conditioner(["a cat"])),
        (one.conditioner.null, other.conditioner.null),
    ):
        assert jax.tree.structure(found) == jax.tree.structure(expected)
        assert jax.tree.all(jax.tree.map(np.array_equal, found, expected))


@pytest.mark.usefixtures("unchecked")  # which would look at the conditioner's null prompt
def test_what_a_file_does_not_hold_is_said(one_file, tmp_path):
    _, path, _ = one_file
    alone = tmp_path / "alone.safetensors"
    state = load_file(path)
    save_file(state, alone)
    alone.with_suffix(".yaml").write_text("parameterization: v")
    with pytest.raises(FileNotFoundError, match="holds no tokenizer: put the folder tokenizer of"):
        pretrained.open(alone).conditioner(["a cat"])
    images = {key: value for key, value in state.items() if not key.startswith("cond")}
    save_file(images, alone)
    with pytest.raises(ValueError, match="is no file of Stable Diffusion 1, Stable Diffusion 2"):
        pretrained.load(alone)
    save_file(state | {"model.diffusion_model.input_hint_block.0.weight": np.ones(1)}, alone)
    with pytest.raises(ValueError, match="have no place in diffusers' network"):
        pretrained.load(alone)


def test_a_file_says_that_it_predicts_v(one_file, tmp_path):
    _, path, _ = one_file
    marked = tmp_path / "model.safetensors"
    save_file(load_file(path) | {"v_pred": np.ones(0), "ztsnr": np.ones(0)}, marked)
    model = pretrained.load(marked)
    assert type(model.precondition).__name__ == "Velocity"
    assert model.schedule.sigma_range[1] == pytest.approx(4096)


def test_what_stable_diffusion_2_predicts_lies_beside_the_file(tmp_path):
    """Noise at one size or v at another: of two models with the same names nothing else tells."""
    path = tmp_path / "model.safetensors"
    (tmp_path / "parts").mkdir()
    written(path, "Stable Diffusion 2", tmp_path / "parts")
    beside = path.with_suffix(".yaml")
    for text, kind, side in (
        ("model:\n  params:\n    parameterization: v\n", "Velocity", 32),
        ("parameterization: 'eps'\n", "Epsilon", 16),
        ("model:\n  params:\n    timesteps: 1000\n", "Epsilon", 16),
    ):
        beside.write_text(text)
        model = pretrained.load(path)
        assert (type(model.precondition).__name__, model.image_shape[0]) == (kind, side)
    beside.write_text("parameterization: x0")
    with pytest.raises(ValueError, match="parameterization x0 is not supported; eps and v are"):
        pretrained.load(path)
    beside.unlink()
    with pytest.raises(ValueError, match=r"does not say what it predicts.*as model\.yaml"):
        pretrained.load(path)
