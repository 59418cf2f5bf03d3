"""A model directory with a text encoder gives it back, and says in one sentence why it cannot."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from ddib_jax import pretrained, schedules
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.nets import CLIPText, UNet2DCondition, example_condition
from ddib_jax.preconditioning import EDM
from ddib_jax.pretrained import TextEncoder, load_model, load_text_encoder, save_model
from ddib_jax.text import learn_tokenizer

pytest.importorskip("tokenizers", reason="tokenizers is not installed (extra 'text')")


def filled(network, *inputs):
    """Random weights of a network, which is traced alone."""
    shapes = jax.eval_shape(network.init, jax.random.key(0), *inputs)["params"]
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype), shapes)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    folder = tmp_path_factory.mktemp("original")
    tokenizer = learn_tokenizer(["a red square", "a blue one"], folder / "words", size=530)
    unet = UNet2DCondition(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownBlock2D",),
        up_block_types=("UpBlock2D",),
        block_out_channels=(16,),
        layers_per_block=1,
        norm_num_groups=8,
        attention_head_dim=1,
        cross_attention_dim=16,
        text_length=tokenizer.length,
        patch_size=2,
    )
    encoder = CLIPText(
        vocab_size=tokenizer.size,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=1,
        max_position_embeddings=tokenizer.length,
        eos_token_id=tokenizer.end,
    )
    tokens = jnp.zeros((1, tokenizer.length), jnp.int32)
    images = jnp.zeros((1, 8, 8, 3))
    params = filled(unet, images, jnp.zeros(1), example_condition(unet))
    model = DiffusionModel(
        params, EDM(0.5), network=unet, schedule=schedules.EDM(), data_shape=(8, 8, 3)
    )
    told = TextEncoder(encoder, filled(encoder, tokens), tokenizer)
    return save_model(folder / "model", model, facts={}, encoder=told)


@pytest.fixture
def directory(tmp_path, original, unchecked):
    """A model directory to be damaged."""
    shutil.copytree(original, tmp_path / "copy")
    return tmp_path / "copy"


def refused(load, directory, *words, kind=ValueError):
    with pytest.raises(kind) as error:
        load(directory)
    message = str(error.value)
    assert "\n" not in message, message
    for word in (str(directory), *words):
        assert word in message, message


def rewritten(directory, change):
    arrays = load_file(directory / "weights.safetensors")
    change(arrays)
    save_file(arrays, directory / "weights.safetensors")


def described(directory, change):
    description = json.loads((directory / "model.json").read_text())
    change(description)
    (directory / "model.json").write_text(json.dumps(description))


@pytest.mark.slow
def test_it_comes_back(original, tmp_path):
    checkpoint = pretrained.open(original)
    encoder = load_text_encoder(original)
    save_model(tmp_path / "again", checkpoint.model(), facts={}, encoder=encoder)
    for name in ("model.json", "weights.safetensors", "tokenizer/vocab.json"):
        assert (tmp_path / "again" / name).read_bytes() == (original / name).read_bytes()
    said = pretrained.conditions(checkpoint, (), prompts=["a red square", "a blue square"])
    assert said["text"].shape == (2, encoder.tokenizer.length, 16)
    assert np.isfinite(said["text"]).all()
    assert not np.array_equal(*said["text"])
    null = checkpoint.conditioner.null["text"]
    np.testing.assert_array_equal(null, checkpoint.conditioner([""])["text"][0])


def test_a_missing_tokenizer(directory):
    shutil.rmtree(directory / "tokenizer")
    load_model(directory)  # without prompts it is not asked for
    refused(load_text_encoder, directory, "holds no tokenizer", kind=FileNotFoundError)


def test_a_tokenizer_of_more_tokens_than_the_encoder_knows(directory, tmp_path):
    texts = [f"word{chr(97 + i)}" for i in range(26)]
    learn_tokenizer(texts, directory / "tokenizer", size=700)
    refused(load_text_encoder, directory, "tokens and a text encoder of")


def test_text_arrays_without_a_description(directory):
    described(directory, lambda description: description.pop("text"))
    refused(load_model, directory, "holds a text encoder that its model.json does not describe")
    rewritten(
        directory,
        lambda arrays: [arrays.pop(n) for n in [*arrays] if n.startswith("text/")],
    )
    assert pretrained.open(directory).conditioner is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.update(hidden_size=32), "those that its model.json describes"),
        (lambda text: text.update(vocab_size=900), ", 16), not (900, 16)"),
        (lambda text: text.update(num_hidden_layers=2), "is missing"),
        (lambda text: text.update(name="bert"), "names an unknown text 'bert'"),
        (lambda text: text.update(colour=3), "describes a text that cannot be made"),
    ],
)
def test_another_encoder_than_that_of_the_weights(directory, change, words):
    described(directory, lambda description: change(description["text"]))
    refused(load_text_encoder, directory, words)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda arrays, name: arrays.pop(name), "is missing"),
        (lambda arrays, name: arrays.update({"text/extra": np.zeros(3)}), "extra is unknown"),
        (lambda arrays, name: arrays.update({name: np.zeros(3)}), "is (3,), not (16,)"),
    ],
)
def test_wrong_arrays_of_the_encoder(directory, change, words):
    name = "text/text_model.final_layer_norm/bias"
    assert name in load_file(directory / "weights.safetensors")
    rewritten(directory, lambda arrays: change(arrays, name))
    refused(load_text_encoder, directory, words)
