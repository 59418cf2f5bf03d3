"""Files that people have at hand: each is told what it is, and read where there is one reading."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import save_file

from ddib_jax import pretrained
from ddib_jax.pretrained.diffusers_files import weight_files
from ddib_jax.pretrained.torch_files import open_weights
from ddib_jax.pretrained.torch_writer import save_state_dict
from ddib_jax.pretrained.wrapped import contained, unwrapped

TENSOR, OTHER = np.ones(2, np.float32), np.zeros(2, np.float32)
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 1\n"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder, the working one, of what is no checkpoint."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(pretrained.SHIPPED / "moons", "ours")
    (tmp_path / "out" / "training" / "steps" / "40").mkdir(parents=True)
    (tmp_path / "out" / "training" / "configuration.json").write_text("{}")
    (tmp_path / "begun" / "training").mkdir(parents=True)
    (tmp_path / "begun" / "training" / "configuration.json").write_text("{}")
    for name in ("pipeline/unet", "pipeline/scheduler", "checkpoint-500/unet", "clone/unet"):
        (tmp_path / name).mkdir(parents=True)
    unet = json.dumps({"_class_name": "UNet2DModel"})
    for name in ("pipeline", "checkpoint-500", "clone"):
        (tmp_path / name / "unet" / "config.json").write_text(unet)
    (tmp_path / "pipeline" / "model_index.json").write_text("{}")
    weights = tmp_path / "pipeline" / "unet" / "diffusion_pytorch_model.safetensors"
    save_file({"a": TENSOR}, weights)
    (tmp_path / "clone" / "unet" / "diffusion_pytorch_model.safetensors").write_text(POINTER)
    for way in ("ab", "ba"):
        (tmp_path / "gan" / way).mkdir(parents=True)
        (tmp_path / "gan" / way / "model.json").write_text("{}")
    (tmp_path / "pointer.pt").write_text(POINTER)
    for name in ("edm.pkl", "diffusion_pytorch_model.bin", "model.onnx", "noend"):
        (tmp_path / name).write_bytes(b"\x80\x04N.")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("edm.pkl", r"is a pickle, which may run any code .* docs/start/pretrained-models\.md"),
        ("diffusion_pytorch_model.bin", r"beside their config\.json .* name that folder"),
        ("ours/model.json", "describes a model; name the folder that holds it, ours"),
        ("ours/weights.safetensors", "name the folder that describes it, ours"),
        ("pipeline/unet/config.json", "name the folder that holds it, pipeline"),
        ("pipeline/unet/diffusion_pytorch_model.safetensors", "describes it, pipeline"),
        ("clone", "is a pointer of git-lfs"),
        ("pointer.pt", "is a pointer of git-lfs"),
        ("out", r"has not ended, whose last checkpoint is of step 40: .* with --stop-at 40"),
        ("out/training", "out is a training that has not ended"),
        ("begun", "without a checkpoint yet"),
        ("checkpoint-500", "of a training of diffusers, without its noise schedule"),
        ("gan", "holds the generators ab and ba"),
        ("model.onnx", "is no checkpoint by its suffix"),
        ("noend", "is no checkpoint by its suffix"),
    ],
)
def test_what_a_path_is_is_told(place, name, said):
    with pytest.raises(ValueError, match=said) as error:
        pretrained.open(name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("lora_unet_down_blocks_0.lora_down.weight", "holds a LoRA"),
        ("unet.down_blocks.0.attn1.to_q.lora_A.weight", "holds a LoRA"),
        ("first_stage_model.encoder.conv_in.weight", "holds a model of Stable Diffusion's kind"),
        ("down_blocks.0.attn2.to_k.weight", "holds a model of Stable Diffusion's kind"),
        ("post_quant_conv.weight", "holds an autoencoder, without the diffusion model"),
    ],
)
def test_other_kinds_of_weights_are_told_by_their_names(tmp_path, name, said):
    tensors = {name: TENSOR, "encoder.conv_in.bias": TENSOR}
    save_file(tensors, tmp_path / "a.safetensors")
    save_state_dict(tmp_path / "a.ckpt", tensors)
    for path in tmp_path.iterdir():
        with pytest.raises(ValueError, match=f"{said}.*; what is read are"):
            pretrained.open(path)


def test_a_shipped_name_comes_after_a_folder_that_holds_a_model(place):
    shutil.copytree(pretrained.SHIPPED / "moons", "checkerboard")
    (place / "moons").mkdir()
    with pytest.warns(UserWarning, match="'moons' is the shipped model; the folder of that name"):
        assert pretrained.open("moons").path == pretrained.SHIPPED / "moons"
    with pytest.warns(UserWarning, match="is the model in the folder of that name here, not the"):
        assert str(pretrained.open("checkerboard").path) == "checkerboard"
    assert str(pretrained.open("./checkerboard").path) == "checkerboard"


@pytest.mark.parametrize(
    ("names", "weights", "found"),
    [
        (("module.a", "module.b.c"), None, ["a", "b.c"]),
        (("module._orig_mod.a", "module._orig_mod.b"), None, ["a", "b"]),
        (("a", "module.b"), None, ["a", "module.b"]),
        (("model.a", "out.b"), None, ["model.a", "out.b"]),
        (("ema_model.a", "online_model.a", "step", "initted"), "ema_model", ["a"]),
        (("ema_model.module.a", "step"), None, ["a"]),
    ],
)
def test_prefixes_of_wrappers(tmp_path, names, weights, found):
    path = tmp_path / "a.safetensors"
    save_file(dict.fromkeys(names, TENSOR), path)
    assert list(open_weights(path, weights=weights)) == found
    np.testing.assert_array_equal(open_weights(path, weights=weights)[found[0]], TENSOR)


def test_several_weights_are_asked_about(tmp_path):
    names = {"ema_model.a": OTHER, "online_model.a": TENSOR}
    asked = r"holds the weights ema_model, online_model; say which .*--weights online_model"
    with pytest.raises(ValueError, match=asked):
        unwrapped(names, tmp_path / "x.pt", None)
    with pytest.raises(ValueError, match="holds no weights 'best', but ema_model, online_model"):
        unwrapped(names, tmp_path / "x.pt", "best")
    assert unwrapped(names, tmp_path / "x.pt", "online_model")["a"] is TENSOR


def test_containers(tmp_path):
    is_tensor = lambda value: isinstance(value, np.ndarray)
    state = {"step": 3, "opt": {"state": {0: {"a": TENSOR}}}, "state_dict": {"a": TENSOR}}
    assert contained(state, is_tensor, tmp_path, None) == {"a": TENSOR}
    both = {"model": {"a": TENSOR}, "ema": {"a": OTHER}, "epoch": 2}
    with pytest.raises(ValueError, match="holds the weights model, ema; say which ones are meant"):
        contained(both, is_tensor, tmp_path, None)
    assert contained(both, is_tensor, tmp_path, "ema")["a"] is OTHER
    assert contained({"a": TENSOR}, is_tensor, tmp_path, None) == {"a": TENSOR}


def test_a_file_of_torch_in_a_container(tmp_path):
    torch = pytest.importorskip("torch")
    path = tmp_path / "training.ckpt"
    tensors = {"module.a": torch.ones(2), "module.b": torch.zeros(1)}
    torch.save({"state_dict": tensors, "epoch": 3, "opt": {"lr": 0.1}}, path)
    assert {name: array.tolist() for name, array in open_weights(path).items()} == {
        "a": [1.0, 1.0],
        "b": [0.0],
    }
    save_state_dict(tmp_path / "plain.pt", {"a": TENSOR})
    assert list(open_weights(tmp_path / "plain.pt")) == ["a"]


def test_variants_of_diffusers(tmp_path):
    stem = "diffusion_pytorch_model"
    (tmp_path / "unet").mkdir()
    half = tmp_path / "unet" / f"{stem}.fp16.safetensors"
    half.touch()
    assert weight_files(tmp_path) == [half]
    (tmp_path / "unet" / f"{stem}.bf16.safetensors").touch()
    with pytest.raises(ValueError, match=r"several variants of one model, .*bf16.*, .*fp16"):
        weight_files(tmp_path)
    whole = tmp_path / "unet" / f"{stem}.safetensors"
    whole.touch()
    assert weight_files(tmp_path) == [whole]
