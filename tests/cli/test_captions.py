"""`ddib train --captions` and what is done with its model, on 8 x 8 pictures of two colours."""

import json
import pickle
import shutil

import jax
import numpy as np
import pytest
from PIL import Image

from ddib_jax import pretrained
from ddib_jax.cli.train import Train
from ddib_jax.data import image_folder
from ddib_jax.nets import Captioned
from ddib_jax.preconditioning import Velocity
from ddib_jax.text import learn_tokenizer, read_tokenizer
from ddib_jax.trainer import Batches, Recipe

pytest.importorskip("tokenizers", reason="tokenizers is not installed (extra 'text')")

TINY = {
    "captions": True,
    "batch_size": 4,
    "rank": 4,
    "warmup": 1,
    "model_channels": 16,
    "channel_mult": (1,),
    "attention_resolutions": (),
    "text_width": 16,
    "text_layers": 1,
    "vocabulary": 530,
    "log_every": 1,
}
FEW = "--steps 6 --batch-size 4"
COLOURS = {"red": (220, 20, 20), "blue": (20, 20, 220)}


@pytest.fixture(scope="module")
def captioned(tmp_path_factory):
    """Eight pictures of red and blue, with a metadata.jsonl."""
    folder, lines = tmp_path_factory.mktemp("pictures"), []
    rng = np.random.default_rng(0)
    for index in range(8):
        name = [*COLOURS][index % 2]
        pixels = np.asarray(COLOURS[name]) + rng.integers(-20, 20, (8, 8, 3))
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{index}.png")
        lines.append(json.dumps({"file_name": f"{index}.png", "text": f"a {name} square"}))
    (folder / "metadata.jsonl").write_text("\n".join(lines))
    return folder


def train(captioned, out, **options):
    Train(data=str(captioned), out=out, **TINY | {"steps": 4} | options).run()
    return out


@pytest.fixture(scope="module", autouse=True)
def compiled_once(tmp_path_factory):
    """Trainings of the same options share what they compile."""
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", str(tmp_path_factory.mktemp("compiled")))
    yield
    jax.config.update("jax_compilation_cache_dir", before)


@pytest.fixture(scope="module")
def model(captioned, tmp_path_factory):
    """A model of four steps, with dropped captions."""
    return train(captioned, tmp_path_factory.mktemp("trained") / "model", label_dropout=0.25)


def pixels(path):
    return np.asarray(Image.open(path), int)


@pytest.mark.slow
def test_the_model_directory_has_its_text_encoder(model):
    names = {path.name for path in model.iterdir()}
    assert {"model.json", "weights.safetensors", "samples.png", "tokenizer"} <= names
    facts = pretrained.describe(model)
    assert facts["network"]["name"] == "unet2d-condition"
    assert facts["text"]["hidden_size"] == 16
    assert facts["training"]["captions"] is True
    tokenizer = read_tokenizer(model / "tokenizer")
    assert [span.stop - span.start for span in tokenizer("a red square").spans] == [1] * 3
    encoder = pretrained.load_text_encoder(model)
    assert encoder.network.vocab_size == tokenizer.size
    cond = pretrained.conditions(pretrained.open(model), (), prompts=["a red square", "a blue one"])
    assert cond["text"].shape == (2, tokenizer.length, 16)
    assert not np.array_equal(*cond["text"])


@pytest.mark.slow
def test_samples_and_translations_by_prompts(ddib, model, captioned, tmp_path):
    prompt = ("--prompt red blue",)
    sample = ("sample --model", model, "--count 2", FEW)
    for number, more in enumerate(((), ("--guidance 3",), ("--guidance 3 --negative blue",))):
        code, _, err = ddib(*sample, *prompt, *more, "--out", tmp_path / str(number))
        assert code == 0, err
    shapes = {pixels(tmp_path / str(number) / "sample-00001.png").shape for number in range(3)}
    assert shapes == {(8, 8, 3)}
    words = ("translate", captioned, "--model", model, FEW, "--solver lattice-heun --aux")
    for out, way in (("blue", ("red", "blue")), ("red", ("blue", "red"))):
        images = captioned if out == "blue" else tmp_path / "blue" / "pairs.npz"
        prompts = ("--source-prompt", way[0], "--target-prompt", way[1])
        code, said, err = ddib(*(words[0], images, *words[2:]), *prompts, "--out", tmp_path / out)
        assert code == 0, err
    assert "8 of 8 images came back to the bit." in said
    assert np.array_equal(pixels(tmp_path / "red" / "3.png"), pixels(captioned / "3.png"))


@pytest.mark.slow
def test_the_other_commands_take_prompts(ddib, model, captioned, tmp_path):
    latents, out = tmp_path / "latents.npz", tmp_path / "out"
    code, _, err = ddib("encode", captioned, "--model", model, FEW, "--prompt red --out", latents)
    assert code == 0, err
    code, _, err = ddib("decode", latents, "--model", model, FEW, "--prompt blue --out", out)
    assert code == 0, err
    assert pixels(out / "7.png").shape == (8, 8, 3)
    both = ("--source", model, "--target", model, "--source-prompt red --target-prompt blue")
    options = ("--perturb keep-low --coefficients 0.5 1 --out", tmp_path / "swept")
    code, _, err = ddib("sweep", captioned, *both, FEW, *options)
    assert code == 0, err
    assert (tmp_path / "swept" / "run" / "explorer.html").is_file()
    title = json.loads((tmp_path / "swept" / "run" / "run.json").read_text())["title"]
    assert title.startswith('From model, told "red" to model, told "blue"')
    solver = "--prompt red --limit 4 --solvers heun --evaluations 8 --out"
    code, said, err = ddib("diagnose", model, captioned, solver, tmp_path / "page")
    assert "UNet2DCondition" in said, err
    assert (tmp_path / "page" / "index.html").is_file()
    assert "is told a text of every image" in ddib("diagnose", model, captioned)[2]


@pytest.mark.slow
def test_a_converted_model_keeps_its_text_encoder(ddib, model, tmp_path):
    assert ddib("convert", model, "--to ddib --out", tmp_path / "copy")[0] == 0
    for name in ("weights.safetensors", "tokenizer/vocab.json", "tokenizer/merges.txt"):
        assert (tmp_path / "copy" / name).read_bytes() == (model / name).read_bytes()
    one, two = (
        pretrained.conditions(pretrained.open(path), (), prompts=["a red square"])["text"]
        for path in (model, tmp_path / "copy")
    )
    np.testing.assert_array_equal(one, two)
    for other, words in (
        ("diffusers", "diffusers has no network like UNet2DCondition"),
        ("guided-diffusion", "guided-diffusion holds its own U-Net alone"),
    ):
        code, _, err = ddib("convert", model, "--to", other, "--out", tmp_path / other)
        assert (code, words in err) == (1, True), err


@pytest.mark.slow
def test_a_resumed_training_is_one_that_was_never_interrupted(captioned, model, tmp_path):
    options = {"label_dropout": 0.25, "checkpoint_every": 2}
    train(captioned, tmp_path / "model", stop_at=2, **options)
    train(captioned, tmp_path / "model", **options)
    for name in ("weights.safetensors", "tokenizer/vocab.json", "tokenizer/merges.txt"):
        assert (tmp_path / "model" / name).read_bytes() == (model / name).read_bytes()


@pytest.mark.slow
def test_a_training_starts_from_a_captioned_model(captioned, model, tmp_path):
    """Both networks and the vocabulary are the given model's: a step at a tiny rate moves nothing,
    though the captions are others."""
    folder = tmp_path / "pictures"
    shutil.copytree(captioned, folder)
    lines = (folder / "metadata.jsonl").read_text().replace("square", "box")
    (folder / "metadata.jsonl").write_text(lines)
    options = {"init": str(model), "steps": 1, "learning_rate": 1e-12, "weight_decay": 0.0}
    second = train(folder, tmp_path / "second", **options)
    assert (second / "tokenizer" / "vocab.json").read_text() == (
        model / "tokenizer" / "vocab.json"
    ).read_text()
    pairs = [
        (pretrained.load(path), pretrained.load_text_encoder(path).params)
        for path in (model, second)
    ]
    for a, b in zip(*map(jax.tree.leaves, pairs), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-9)
    with pytest.raises(ValueError, match="has another network than these options ask for"):
        train(folder, tmp_path / "third", **options | {"text_layers": 2})
    with pytest.raises(ValueError, match="'five' was not trained with --captions; start from"):
        train(folder, tmp_path / "fourth", **options | {"init": "five"})


def test_batches_have_the_tokens_of_captions(captioned, tmp_path):
    source = image_folder(captioned)
    tokenizer = learn_tokenizer(source.captions(range(8)), tmp_path / "words", size=530)
    batches = Batches(source, batch_size=64, seed=3, tokenizer=tokenizer, label_dropout=0.25)
    batch = batches(2)
    assert batch["cond"].shape == (64, tokenizer.length)
    assert batch["cond"].dtype == np.int32
    told = {name: tokenizer(f"a {name} square").ids for name in COLOURS}
    empty = (batch["cond"] == tokenizer("").ids).all(axis=1)
    assert 5 < empty.sum() < 30
    reds = batch["image"][:, 0, 0, 0] > 0
    for row, red in zip(batch["cond"][~empty], reds[~empty], strict=True):
        np.testing.assert_array_equal(row, told["red" if red else "blue"])
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(batches))(2)["cond"], batch["cond"]
    )  # for workers


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"text_width": 24}, "heads 16 wide; give a --text-width that is a multiple"),
        ({"conditional": True}, "is told labels or captions; leave one of them out|has no labels"),
        ({"captions": False}, "--vocabulary is an option of training with captions"),
        ({"captions": False, "vocabulary": 1024, "text_layers": 2}, "--text-width is an option of"),
        ({"vocabulary": 400}, "400 has no room for all bytes"),
    ],
)
def test_what_does_not_go_together(captioned, tmp_path, options, words):
    with pytest.raises(ValueError, match=words):
        train(captioned, tmp_path / "out", **options)


def test_captions_of_data_without_any(ddib, captioned, pictures, tmp_path):
    for data in (str(pictures), "five"):
        code, _, err = ddib("train --captions --data", data, "--out", tmp_path / "out")
        assert code == 1
        assert err.count("\n") == 1
        assert "have no captions; leave them out, or give data that have some" in err
    shutil.copytree(captioned, tmp_path / "some")
    (tmp_path / "some" / "metadata.jsonl").write_text('{"file_name": "1.png", "text": "a"}\n')
    code, _, err = ddib("train --captions --data", tmp_path / "some", "--out", tmp_path / "out")
    assert code == 1
    assert "7 of 8 pictures have no caption" in err


@pytest.mark.slow
@pytest.mark.parametrize("width", [16, 48, 72, 104])
def test_networks_of_any_width(width, unchecked):
    """Heads of the U-Net have 32 channels or more, whatever the width."""
    recipe = Recipe(
        **{k: v for k, v in TINY.items() if k != "log_every"} | {"model_channels": width}
    )
    model = jax.eval_shape(lambda: recipe.untrained((8, 8, 3), Velocity(), None))
    assert isinstance(model.network, Captioned)
    (heads,) = model.network.unet.attention_head_dim
    assert width % heads == 0
    assert width // heads >= min(width, 32)
