"""Pictures of any size through models of 8 x 8: padded, resized, and in windows."""

import numpy as np
import pytest
from PIL import Image

from ddib_jax.data.fitting import placed, restored


@pytest.fixture
def large(tmp_path):
    """Pictures of 20 x 12 and of 10 x 9."""
    folder, rng = tmp_path / "large", np.random.default_rng(0)
    folder.mkdir()
    for name, size in (("a", (12, 20)), ("b", (9, 10))):
        Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).save(folder / f"{name}.png")
    return folder


QUICK = "--solver ddim --steps 2 --no-film"


@pytest.mark.parametrize(
    ("fit", "sizes"),
    [("crop", ((8, 8), (8, 8))), ("pad", ((8, 5), (8, 7))), ("resize", ((20, 12), (10, 9)))],
)
def test_pictures_are_fitted_and_results_freed(ddib, models, large, tmp_path, fit, sizes):
    out = tmp_path / "out"
    code, _, said = ddib(
        "translate", large, "--source", models / "here", "--target", models / "there",
        f"--fit {fit} --out", out, QUICK,
    )  # fmt: skip
    assert code == 0, said
    assert tuple(Image.open(out / f"{name}.png").size for name in "ab") == sizes


@pytest.mark.slow
def test_pictures_of_several_sizes_are_taken_in_windows(ddib, models, large, tmp_path):
    out = tmp_path / "out"
    code, _, said = ddib(
        "translate", large, "--source", models / "here", "--target", models / "there",
        "--fit tile --overlap 0.25 --report --out", out, QUICK,
    )  # fmt: skip
    assert code == 0, said
    assert [Image.open(out / f"{name}.png").size for name in "ab"] == [(20, 12), (10, 9)]
    assert (out / "run" / "index.html").is_file()


@pytest.mark.slow
def test_a_large_picture_comes_back_to_the_bit(ddib, models, large, tmp_path):
    latents, out, words = tmp_path / "z.npz", tmp_path / "out", "--fit tile --steps 2 --solver"
    (large / "b.png").unlink()
    code, _, said = ddib(
        "encode", large, "--model", models / "here", f"{words} lattice-heun --aux --out", latents
    )
    assert code == 0, said
    code, said, _ = ddib(
        "decode", latents, "--model", models / "here", f"{words} lattice-heun --out", out
    )
    assert code == 0, said
    assert "1 of 1 images came back to the bit" in said
    assert np.array_equal(Image.open(out / "a.png"), Image.open(large / "a.png"))


def test_what_cannot_be_fitted_is_refused(ddib, models, large, tmp_path):
    Image.new("RGB", (30, 7)).save(large / "c.png")
    code, _, said = ddib(
        "translate", large, "--source", models / "here", "--target", models / "there",
        "--fit tile --out", tmp_path / "out",
    )  # fmt: skip
    assert code == 1
    assert "c.png (30x7 pixels, smaller than the model's window of 8x8: pad or resize it" in said
    assert said.count("\n") == 1
    (large / "c.png").unlink()
    code, _, said = ddib(
        "encode", large, "--model", models / "here", "--fit tile --out", tmp_path / "z.npz"
    )
    assert code == 1
    assert "of 2 sizes (10x9, 20x12" in said or "of 2 sizes" in said


@pytest.mark.parametrize("size", [(20, 12), (5, 6), (8, 8), (3, 30), (16, 16)])
@pytest.mark.parametrize("fit", ["pad", "resize"])
def test_a_result_is_where_its_picture_was(size, fit):
    place = placed(size, (8, 8), fit)
    assert place.shape == (8, 8)
    shape = restored(np.zeros((8, 8, 3), np.float32), place).shape[:2]
    shrunk = min(1, 8 / size[0], 8 / size[1])
    expected = size if fit == "resize" else tuple(max(1, round(shrunk * n)) for n in size)
    assert shape == expected
