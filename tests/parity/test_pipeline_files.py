"""The files of a pipeline in all the forms they come in, and what is said of those that are not."""

import json
import shutil
from fnmatch import fnmatch

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from ddib_jax import pretrained
from ddib_jax.pretrained.diffusers_pipeline import load_pipeline

pipelines = pytest.importorskip("tests.pretrained.pipelines")
torch = pipelines.torch


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    path = tmp_path_factory.mktemp("pipeline")
    pipeline = pipelines.stable_diffusion(path)
    pipeline.save_pretrained(path / "whole")
    pipeline.save_pretrained(path / "bin", safe_serialization=False)
    pipeline.save_pretrained(path / "parts", max_shard_size="20KB")
    pipeline.to(torch.float16).save_pretrained(path / "half", variant="fp16")
    pipeline.save_pretrained(path / "half parts", variant="fp16", max_shard_size="10KB")
    return path


@pytest.fixture(scope="module")
def expected(original):
    return read(original / "whole")


@pytest.fixture
def folder(original, tmp_path):
    return shutil.copytree(original / "whole", tmp_path / "pipeline")


def read(path):
    """The weights of all components."""
    checkpoint = pretrained.open(path)
    model = checkpoint.model()
    encoders = checkpoint.conditioner.encode.encoders
    return {
        "unet": model.params,
        "vae": model.codec.params,
        "text": [encoder.params for encoder in encoders],
    }


def assert_equal(found, expected, **tolerances):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(np.asarray(one, np.float32), other, **tolerances)


@pytest.mark.parametrize("form", ["bin", "parts", "half", "half parts"])
def test_every_form_is_read(original, expected, form):
    half = "half" in form
    found = read(original / form)
    assert_equal(found, expected, rtol=1e-3 if half else 0, atol=1e-3 if half else 0)
    types = {leaf.dtype for leaf in jax.tree.leaves(found)}
    assert types == {np.dtype("float16" if half else "float32")}
    files = {file.name for file in pretrained.open(original / form).format.weights(original / form)}
    assert any("-of-" in name for name in files) == ("parts" in form)


def test_weights_in_another_type(original):
    model = load_pipeline(original / "half", dtype="float32")
    assert {leaf.dtype for leaf in jax.tree.leaves(model.params)} == {np.dtype("float32")}


def rewrite(path, change):
    """A file of weights with its keys and values changed."""
    state = {}
    for key, value in load_file(path).items():
        name, array = change(key, value)
        state[name] = np.ascontiguousarray(array)
    save_file(state, path, metadata={"format": "pt"})


@pytest.mark.parametrize("convolved", [False, True], ids=["linear", "convolved"])
def test_names_of_old_autoencoders(folder, expected, convolved):
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}

    def change(key, value):
        for new, name in old.items():
            if f".{new}." in key:
                key = key.replace(f".{new}.", f".{name}.")
                value = value[..., None, None] if convolved and value.ndim == 2 else value
        return key, value

    rewrite(folder / "vae" / "diffusion_pytorch_model.safetensors", change)
    assert_equal(read(folder), expected, rtol=0)


@pytest.mark.parametrize("prefixed", [False, True])
def test_names_of_text_encoders(folder, expected, prefixed):
    path = folder / "text_encoder" / "model.safetensors"
    bare = lambda key: key.removeprefix("text_model.")
    rewrite(path, lambda key, value: (("text_model." if prefixed else "") + bare(key), value))
    state = load_file(path)
    positions = "text_model.embeddings.position_ids" if prefixed else "embeddings.position_ids"
    save_file(state | {positions: np.arange(77)[None]}, path, metadata={"format": "pt"})
    assert_equal(read(folder), expected, rtol=0)


def configure(path, **options):
    path.write_text(json.dumps(json.loads(path.read_text()) | options))


@pytest.mark.parametrize(
    ("file", "options", "words"),
    [
        ("model_index.json", {"_class_name": "FluxPipeline"}, "class FluxPipeline, which is not"),
        ("model_index.json", {"text_encoder": [None, None]}, "names no text_encoder"),
        ("model_index.json", {"requires_aesthetics_score": True}, "is a refiner"),
        ("model_index.json", {"text_encoder": ["transformers", "T5"]}, "is a T5; text encoders"),
        ("unet/config.json", {"in_channels": 9}, "makes 4 channels of 9"),
        ("unet/config.json", {"time_cond_proj_dim": 256}, "time_cond_proj_dim = 256"),
        ("unet/config.json", {"attention_type": "gated"}, "attention_type = 'gated'"),
        ("unet/config.json", {"flavour": 1}, "unknown option flavour of UNet2DCondition"),
        ("unet/config.json", {"_class_name": "UNet3DConditionModel"}, "a UNet3DConditionModel"),
        ("vae/config.json", {"_class_name": "AutoencoderTiny"}, "the autoencoder AutoencoderTiny"),
        ("vae/config.json", {"latent_channels": 8}, "not those that its options describe"),
        ("text_encoder/config.json", {"model_type": "t5"}, "of the type t5; only CLIP's"),
        ("text_encoder/config.json", {"hidden_act": "mish_mash"}, "hidden_act = 'mish_mash'"),
    ],
)
@pytest.mark.usefixtures("unchecked")  # which would look at the conditioner's null prompt
def test_what_is_not_supported_is_named(folder, file, options, words):
    configure(folder / file, **options)
    with pytest.raises(ValueError, match=words):
        read(folder)


@pytest.mark.parametrize(
    ("component", "words"),
    [
        ("vae", "has no folder vae, which its model_index.json names; fetch"),
        ("tokenizer", "has no folder tokenizer"),
    ],
)
def test_missing_components_are_named(folder, component, words):
    shutil.rmtree(folder / component)
    with pytest.raises(FileNotFoundError, match=words):
        read(folder)


def test_the_hub_is_asked_for_what_is_read(original, tmp_path, monkeypatch):
    """Component by component, the variant alone where there is nothing else."""
    hub = pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")
    there, here = original / "half", tmp_path / "cache"
    asked = []

    def snapshot_download(name, *, revision, allow_patterns):
        asked.append(allow_patterns[2:])
        for file in there.rglob("*"):
            path = file.relative_to(there)
            if file.is_file() and any(fnmatch(str(path), pattern) for pattern in allow_patterns):
                (here / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, here / path)
        return str(here)

    (there / "vae_1_0").mkdir()
    (there / "vae_1_0" / "diffusion_pytorch_model.fp16.safetensors").touch()
    (there / "v1-5-pruned.safetensors").touch()
    monkeypatch.setattr(hub, "snapshot_download", snapshot_download)
    read("hf:somebody/something")
    assert asked[1] == [
        "unet/diffusion_pytorch_model.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
        "text_encoder/model.safetensors",
    ]
    assert asked[-1][0] == "unet/diffusion_pytorch_model.fp16.safetensors"
    assert not (here / "vae_1_0").exists()
    assert not list(here.glob("*.safetensors"))


def test_a_missing_tensor_is_named(folder):
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    state = load_file(path)
    state.pop("conv_in.weight")
    save_file(state, path, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"conv_in\.weight is missing"):
        pretrained.load(folder)


def test_a_checkpoint_of_another_kind_has_one_size():
    with pytest.raises(ValueError, match="has images of one size"):
        pretrained.open("five", image_size=(64, 64)).model()


def test_latents_know_their_model(folder):
    fingerprint = pretrained.open(folder).fingerprint
    rewrite(folder / "text_encoder" / "model.safetensors", lambda key, value: (key, value + 1e-3))
    assert pretrained.open(folder).fingerprint != fingerprint
