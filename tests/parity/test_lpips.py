"""LPIPS beside a torch implementation of it, on random weights in the files of both packages."""

import csv

import numpy as np
import pytest
from PIL import Image

from ddib_jax import pretrained
from ddib_jax.evaluation import Perceptual, compare

torch = pytest.importorskip("torch", reason="torch is not installed (extra 'parity')")
nn = torch.nn

CHANNELS = (64, 192, 384, 256, 256)


def features():
    """The convolutions of torchvision's AlexNet, `models.alexnet().features`."""
    return nn.Sequential(
        *(nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(192, 384, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2)),
    )


class Alexnet(nn.Module):
    """AlexNet with a part of its classifier, as its file holds it."""

    def __init__(self):
        super().__init__()
        self.features = features()
        self.classifier = nn.Sequential(nn.Dropout(), nn.Linear(8, 8))


def distance(network, heads, first, second):
    """LPIPS of images [b 3 h w] in [-1, 1], as the package lpips computes it."""
    shift = torch.tensor([-0.030, -0.088, -0.188])[None, :, None, None]
    scale = torch.tensor([0.458, 0.448, 0.450])[None, :, None, None]
    pair, total, place = [(x - shift) / scale for x in (first, second)], 0, 0
    for layer in network.features[:12]:
        pair = [layer(x) for x in pair]
        if isinstance(layer, nn.ReLU):
            units = [x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10) for x in pair]
            head = heads[f"lin{place}.model.1.weight"]
            total = total + nn.functional.conv2d((units[0] - units[1]) ** 2, head).mean((2, 3))
            place += 1
    return total[:, 0]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """The network, the heads, and a file of each: as torch writes now, and as before 1.6."""
    folder = tmp_path_factory.mktemp("lpips")
    torch.manual_seed(0)
    network = Alexnet()
    heads = {f"lin{i}.model.1.weight": torch.rand(1, c, 1, 1) for i, c in enumerate(CHANNELS)}
    torch.save(network.state_dict(), folder / "alexnet.pth")
    torch.save(heads, folder / "heads.pth", _use_new_zipfile_serialization=False)
    return network, heads, (folder / "alexnet.pth", folder / "heads.pth")


@pytest.mark.parametrize("size", [(64, 64), (71, 97), (31, 40)])
def test_distances_are_those_of_torch(weights, size):
    network, heads, files = weights
    perceptual = Perceptual(*pretrained.load_lpips(*files))
    rng = np.random.default_rng(0)
    first, second = rng.uniform(-1, 1, (2, 2, *size, 3)).astype(np.float32)
    with torch.no_grad():
        pair = (torch.from_numpy(each.transpose(0, 3, 1, 2)) for each in (first, second))
        expected = distance(network, heads, *pair).numpy()
    np.testing.assert_allclose(perceptual(first, second), expected, rtol=1e-4)
    assert perceptual(first, first).max() < 1e-12  # of a sum of some 10 for these


def test_what_cannot_be_measured(weights):
    _, _, files = weights
    perceptual = Perceptual(*pretrained.load_lpips(*files))
    small = np.zeros((2, 30, 40, 3), np.float32)
    assert np.isnan(perceptual(small, small)).all()
    with pytest.raises(ValueError, match="grey and RGB pictures, and these have 5 channels"):
        perceptual(np.zeros((1, 40, 40, 5), np.float32), np.zeros((1, 40, 40, 5), np.float32))
    with pytest.raises(ValueError, match=r"lin0\.model\.1\.weight is missing"):
        pretrained.load_lpips(files[0], files[0])
    grey = np.random.default_rng(0).uniform(-1, 1, (3, 40, 40, 1)).astype(np.float32)
    found = compare(grey, -grey, perceptual=perceptual)
    colours = np.repeat(grey, 3, axis=-1)
    np.testing.assert_allclose(found.values["lpips"], perceptual(colours, -colours), rtol=1e-4)
    assert "lpips" not in compare(grey, -grey).values


def test_the_command_ranks_by_it(weights, tmp_path, monkeypatch, capsys):
    from ddib_jax.cli import main

    _, _, files = weights
    rng = np.random.default_rng(0)
    for index in range(3):
        pixels = rng.integers(0, 256, (40, 40, 3)).astype(np.uint8)
        for folder, other in (("a", pixels), ("b", np.roll(pixels, index, axis=0))):
            (tmp_path / folder).mkdir(exist_ok=True)
            Image.fromarray(other).save(tmp_path / folder / f"{index}.png")
    where = [str(tmp_path / name) for name in ("a", "b")]
    command = ["ddib", "evaluate", *where, "--out", str(tmp_path / "scores"), "--rank-by", "lpips"]
    monkeypatch.setattr("sys.argv", command)
    assert main() == 1
    assert "No pair has a value of lpips" in capsys.readouterr().err
    monkeypatch.setattr("sys.argv", [*command, "--lpips", *map(str, files)])
    assert main() == 0
    assert "LPIPS" in capsys.readouterr().out
    with (tmp_path / "scores" / "tables" / "images.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert lines[-1]["image"] == "0"
    assert float(lines[-1]["lpips"]) < 1e-12 < float(lines[0]["lpips"])
    monkeypatch.setattr("sys.argv", [*command, "--lpips", str(files[0])])
    assert main() == 1
    assert "give --lpips ALEXNET HEADS" in capsys.readouterr().err
