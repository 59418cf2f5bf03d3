"""`ddib train-cyclegan` and `train-dcgan`: resumed to the same bits, monitored, refused."""

import shlex

import jax
import numpy as np
import pytest
from PIL import Image

from ddib_jax import pretrained
from ddib_jax.gan import DCGAN
from ddib_jax.gan.monitor import Monitor
from ddib_jax.gan.train_cyclegan import findings

SMALL = shlex.split(
    "--batch-size 2 --width 8 --blocks 1 --layers 1"
    " --log-every 2 --checkpoint-every 2 --preview-every 4"
)


@pytest.fixture
def domains(tmp_path):
    """Two folders of small pictures, of unequal count."""
    for name, low, count in (("a", 0, 5), ("b", 180, 3)):
        (tmp_path / name).mkdir()
        for index in range(count):
            Image.fromarray(
                np.random.default_rng(index).integers(low, low + 60, (8, 8, 3), np.uint8)
            ).save(tmp_path / name / f"{index}.png")
    return tmp_path


@pytest.mark.slow
def test_trained_resumed_and_translated(ddib, domains):
    legs = ("train-cyclegan --a", domains / "a", "--b", domains / "b", *SMALL)
    code, out, err = ddib(*legs, "--steps 4 --decay-from 2 --out", domains / "whole")
    assert (code, err) == (0, "")
    assert "The generators lie in" in out
    assert (domains / "whole" / "training" / "previews" / "000004.png").is_file()
    made = [domains / "whole" / way / "weights.safetensors" for way in ("ab", "ba")]
    whole = [path.read_bytes() for path in made]
    for path in made:
        path.unlink()
    code, out, _ = ddib(
        *legs, "--steps 4 --decay-from 2 --out", domains / "whole"
    )  # resumed at its end: the same bits are written again
    assert code == 0
    assert "Resuming" in out
    assert [path.read_bytes() for path in made] == whole
    translate = ("translate", domains / "a", "--method cyclegan")
    assert ddib(*translate, "--model", domains / "whole" / "ab", "--out", domains / "out")[0] == 0
    assert len(list((domains / "out").glob("*.png"))) == 6
    code, _, err = ddib(
        *translate, "--model", domains / "whole" / "ab", "--trajectory gif --out", domains / "no"
    )
    assert code == 1
    assert "no single way from image to latent" in err
    code, _, err = ddib(
        "translate",
        domains / "a",
        "--source",
        domains / "whole" / "ab",
        "--target",
        domains / "whole" / "ba",
        "--out",
        domains / "no",
    )
    assert code == 1
    assert "holds a generator model; a diffusion model is needed here" in err


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"--b": "empty"}, "no image in"),
        ({"--b": "large"}, "The domains have images of 8 x 8 x 3 and 32 x 32 x 3"),
        ({"--layers": "3"}, "at least 24 pixels"),
    ],
)
def test_what_does_not_fit_is_said(ddib, domains, change, words):
    (domains / "empty").mkdir()
    (domains / "large").mkdir()
    Image.new("RGB", (32, 32)).save(domains / "large" / "1.png")
    options = (
        {"--a": "a", "--b": "b", "--steps": "2"}
        | dict(zip(SMALL[::2], SMALL[1::2], strict=True))
        | change
    )
    told = [
        word
        for name, value in options.items()
        for word in (name, domains / value if name in ("--a", "--b") else value)
    ]
    code, _, err = ddib("train-cyclegan", *told, "--out", domains / "out")
    assert code == 1
    assert words in err
    assert err.count("\n") == 1
    assert not (domains / "out").exists()


def test_an_imbalance_is_said_once(tmp_path, capsys):
    monitor = Monitor(tmp_path, findings, start=0, steps=3, quiet=True)
    for step in (1, 2, 3):
        monitor.write(
            step,
            {
                "loss": 1.0,
                "discriminator_a": 0.3 if step == 1 else 0.001,
                "discriminator_b": 0.2,
                "spread_a": 0.9,
                "spread_b": 0.9 if step < 3 else 0.1,
            },
        )
    monitor.close()
    said = capsys.readouterr().out
    assert said.count("the discriminator of a wins") == 1
    assert "step 2" in said
    assert "of b wins" not in said
    assert said.count("generated images of b vary 10%") == 1
    assert "step 3" in said
    assert "images of a vary" not in said


@pytest.mark.slow
def test_a_dcgan_is_trained_resumed_and_sampled(ddib, domains):
    legs = (
        "train-dcgan --data",
        domains / "a",
        "--batch-size 4 --width 4 --latent 8 --enlarge 2 --log-every 2 --checkpoint-every 2",
    )
    code, out, err = ddib(*legs, "--steps 4 --out", domains / "whole")
    assert (code, err) == (0, "")
    assert "The generator lies in" in out
    written = domains / "whole" / "weights.safetensors"
    whole = written.read_bytes()
    written.unlink()
    code, out, _ = ddib(*legs, "--steps 4 --out", domains / "whole")
    assert code == 0
    assert "Resuming" in out
    assert written.read_bytes() == whole
    with Image.open(domains / "whole" / "samples.png") as sheet:
        assert min(sheet.size) >= 8 * 16
    params, network = pretrained.load_network(domains / "whole", "sampler")
    samples = DCGAN(params, network=network).sample(jax.random.key(0), 3)
    assert samples.shape == (3, 16, 16, 3)
    assert bool(abs(samples).max() <= 1)
    code, _, err = ddib(
        "translate",
        domains / "a",
        "--method cyclegan --model",
        domains / "whole",
        "--out",
        domains / "no",
    )
    assert code == 1
    assert "holds a sampler model; a generator model is needed here" in err
