"""Prompts on the command line, on a tiny pipeline of Stable Diffusion."""

import jax
import numpy as np
import pytest
from PIL import Image

from ddib_jax import parallel, pretrained
from ddib_jax.bridge import Bridge
from ddib_jax.translation import batching

pipelines = pytest.importorskip("tests.pretrained.pipelines")
FEW = "--steps 2 --solver ddim --batch-size 2"


@pytest.fixture(scope="module")
def stable(tmp_path_factory):
    path = tmp_path_factory.mktemp("stable")
    pipelines.stable_diffusion(path).save_pretrained(path / "saved")
    return path / "saved"


def pixels(path):
    return np.asarray(Image.open(path), int)


def test_samples_of_prompts(ddib, stable, tmp_path):
    """Two prompts in turn; guidance at 1 is the prompt itself, and at 3 it is another image."""
    one = (
        "sample",
        "--model",
        stable,
        "--count 3 --grid ddim",
        FEW,
        "--prompt",
        "cat",
        "horse",
    )
    assert ddib(*one, "--out", tmp_path / "plain")[0] == 0
    assert ddib(*one, "--guidance 1 --out", tmp_path / "one")[0] == 0
    assert ddib(*one, "--guidance 3 --negative café --out", tmp_path / "away")[0] == 0
    assert ddib(*one, "--guidance 3 --guidance-rescale 1 --out", tmp_path / "scaled")[0] == 0
    names = ("plain", "one", "away", "scaled")
    images = [pixels(tmp_path / name / "sample-00001.png") for name in names]
    assert images[0].shape == (32, 32, 3)
    assert np.abs(images[0] - images[1]).max() <= 1
    assert np.abs(images[0] - images[2]).max() > 1
    assert np.abs(images[3] - images[2]).max() > 1


def test_images_between_prompts(ddib, stable, pictures, tmp_path):
    one = ("translate", pictures, "--model", stable, "--image-size 16 24", FEW)
    prompts = ("--source-prompt", "cat", "--target-prompt")
    assert ddib(*one, *prompts, "horse", "--out", tmp_path / "a")[0] == 0
    assert ddib(*one, *prompts, "cat", "--out", tmp_path / "b")[0] == 0
    there, same = (pixels(tmp_path / name / "a-rgb.png") for name in "ab")
    assert there.shape == (16, 24, 3)
    assert not np.array_equal(there, same)
    edit = "--method sdedit --strength .75 --target-prompt horse --target-guidance 3"
    assert ddib(*one, edit, "--out", tmp_path / "c")[0] == 0
    assert not np.array_equal(pixels(tmp_path / "c" / "a-rgb.png"), there)


def test_latents_know_their_prompt(ddib, stable, pictures, tmp_path):
    latents, out = tmp_path / "latents.npz", tmp_path / "out"
    options = ("--model", stable, FEW, "--solver reversible-heun --prompt")
    assert ddib("encode", pictures, *options, "cat", "--aux --out", latents)[0] == 0
    assert "another condition" in ddib("decode", latents, *options, "horse", "--out", out)[1]
    assert "another" not in ddib("decode", latents, *options, "cat", "--out", out)[1]


def test_a_sweep_between_prompts(ddib, stable, pictures, tmp_path):
    models = ("--source", stable, "--target", stable, "--source-prompt cat --target-prompt horse")
    options = ("--limit 2 --perturb add-noise --coefficients 0 0.5 --out", tmp_path / "out")
    code, _, err = ddib("sweep", pictures, *models, FEW, *options)
    assert code == 0, err
    first = pixels(tmp_path / "out" / "a-rgb_0.png")
    assert first.shape == (32, 32, 3)
    assert not np.array_equal(first, pixels(tmp_path / "out" / "a-rgb_0.5.png"))


def test_a_sweep_is_guided_as_a_translation_is(ddib, stable, pictures, tmp_path):
    guided = (
        pictures, "--model", stable, FEW, "--source-prompt cat --target-prompt horse --limit 1",
        "--source-guidance 2 --target-guidance 4 --target-negative café --guidance-rescale 0.5",
    )  # fmt: skip
    nothing = "--perturb add-noise --coefficients 0 --out"
    assert ddib("sweep", *guided, nothing, tmp_path / "swept")[0] == 0
    assert ddib("translate", *guided, "--out", tmp_path / "translated")[0] == 0
    swept, translated = (
        pixels(tmp_path / folder / name)
        for folder, name in (("swept", "a-rgb_0.png"), ("translated", "a-rgb.png"))
    )
    assert np.abs(swept - translated).max() <= 1


def test_batches_that_fit(ddib, stable, tmp_path, monkeypatch):
    """Of auto under guidance, two rows an image, and under the codec; what never fits is said."""
    checkpoint = pretrained.open(stable)
    cat = jax.tree.map(lambda leaf: leaf[0], checkpoint.conditioner(["cat"]))
    model = checkpoint.model().given(cat)
    plain, guided = (
        Bridge.over(pretrained.guided(checkpoint, model, scale, None), steps=2)
        for scale in (None, 3.0)
    )
    assert batching.costlier(plain, guided) is guided
    monkeypatch.setattr(batching, "_WORTH", 0)  # memory alone decides
    plenty, devices = 20_000_000, jax.local_device_count()
    assert batching.measured_batch(plain, 99, free=plenty) == 4 * devices
    assert batching.measured_batch(guided, 99, free=plenty) == 2 * devices
    monkeypatch.setattr(batching, "_codec_memory", lambda bridge: plenty // 3)
    assert batching.measured_batch(plain, 99, free=plenty) == devices
    monkeypatch.setattr(parallel, "free_memory", lambda: 100_000)
    for batch, words in (("2", "One would need 0.00"), ("auto", "One image needs ")):
        code, _, err = ddib(
            "sample --model", stable, "--prompt cat --guidance 3 --count 2 --steps 2 --solver ddim",
            "--batch-size", batch, "--out", tmp_path / "out",
        )  # fmt: skip
        assert code == 1
        assert words in err
        assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_pipeline_is_diagnosed_under_a_prompt(ddib, stable, pictures, tmp_path):
    options = "--prompt cat --limit 2 --solvers ddim --evaluations 4 --grid ddim --out"
    code, said, err = ddib("diagnose", stable, pictures, options, tmp_path / "page")
    assert code in (0, 1), err
    assert "as codes of 16 x 16 x 4" in said
    assert "the codec alone, without the ODE: error" in said
    assert (tmp_path / "page" / "index.html").is_file(), err


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("sample --model MODEL --out OUT", "is told a text of every image; say one"),
        ("sample --model MODEL --class cat --out OUT", "give a prompt in place of the class"),
        ("sample --model five --prompt cat --out OUT", "'five' is told no text; leave the prompt"),
        ("sample --model MODEL --prompt cat --negative dog --out OUT", "give the guidance too"),
        ("sample --model MODEL --prompt cat --guidance-rescale .7 --out OUT", "give its scale too"),
        ("translate five --model MODEL --source-prompt a --target-prompt b --guidance-rescale .7"
         " --out OUT", "give its scale too (--target-guidance)"),
        ("sample --model digits --class 3 --guidance 2 --negative a --out OUT", "is told no text"),
        ("sample --model five --image-size 64 --out OUT", "has images of one size"),
        ("sample --model MODEL --prompt a --image-size 1 2 3 --out OUT", "3 numbers were given"),
        ("sample --model MODEL --prompt a --grid ddim --steps 1000 --out OUT", "at most 999 steps"),
        ("translate five --target MODEL --target-prompt a --method sdedit --noise 2 --strength"
         " .5 --out OUT", "leave one out"),
        ("convert MODEL --to ddib --out OUT", "is a latent model"),
        ("convert MODEL --to diffusers --out OUT", "is a latent model"),
        ("convert MODEL --to guided-diffusion --out OUT", "is a latent model"),
    ],
)  # fmt: skip
def test_what_does_not_go_together(ddib, stable, tmp_path, command, words):
    places = {"MODEL": stable, "OUT": tmp_path / "out"}
    code, *said = ddib(*(places.get(word, word) for word in command.split()))
    assert code == 1
    assert words in said[-1]
    assert "Traceback" not in said[-1]
