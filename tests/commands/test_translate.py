"""`ddib translate` by tied bridges, SDEdit and ILVR, and options that do not go together."""

import numpy as np
from PIL import Image


def test_tied_bridges_from_the_command_line(ddib, models, pictures, tmp_path):
    words = (
        "translate",
        pictures,
        "--source",
        models / "here",
        "--target",
        models / "there",
        "--steps 3",
    )
    assert ddib(*words, "--tie 2 --out", tmp_path / "tied")[0] == 0
    tied = np.asarray(Image.open(tmp_path / "tied" / "a-rgb.png"), int)
    code, _, err = ddib(*words, "--tie 99 --out", tmp_path / "no")
    assert code == 1
    assert "99 frequencies of 8 x 8 x 3 cannot be tied" in err
    for options, said in (
        (("--tie", "1", "--trajectory", "gif"), "leave the tie out, or"),
        (("--tie", "1", "--method", "sdedit"), "leave the tie out, or"),
        (("--release", "1"), "There is no tie to release"),
        (
            ("--tie", "1", "--release", "1000"),
            "released between 0 and the end of its bridges at 80, not at 1000",
        ),
        (("--tie", "1", "--solver", "implicit-midpoint"), "A tie is crossed by explicit solvers"),
        (("--factor", "3"), "ILVR alone has a factor"),
        (
            ("--method", "ilvr", "--solver", "implicit-midpoint"),
            "ILVR takes the steps of explicit solvers",
        ),
    ):
        code, _, err = ddib(*words, *options, "--out", tmp_path / "no")
        assert code == 1, options
        assert said in err, options
        assert err.count("\n") == 1, options
    swept = (
        "sweep",
        pictures,
        "--source",
        models / "here",
        "--target",
        models / "there",
        "--perturb blur --coefficients 0 1 --steps 3",
    )
    assert ddib(*swept, "--tie 2 --out", tmp_path / "swept")[0] == 0
    zero = np.asarray(Image.open(tmp_path / "swept" / "a-rgb_0.png"), int)
    assert np.abs(zero - tied).max() <= 1


def test_sdedit_and_ilvr_from_the_command_line(ddib, models, pictures, tmp_path):
    words = ("translate", pictures, "--method ilvr --target", models / "there", "--steps 3")
    assert ddib(*words, "--factor 2 --out", tmp_path / "ilvr")[0] == 0
    code, _, err = ddib(*words, "--factor 99 --out", tmp_path / "no")
    assert code == 1
    assert "The factor 99 does not shrink images of" in err
    words = ("translate", pictures, "--method sdedit --target", models / "there", "--steps 3")
    assert ddib(*words, "--noise 0.5 --out", tmp_path / "out")[0] == 0
    code, _, err = ddib(*words, "--noise 500 --out", tmp_path / "no")
    assert code == 1
    assert "outside of what the model knows, 0.002 to 80" in err
    code, _, err = ddib("translate", pictures, "--method sdedit --out", tmp_path / "no")
    assert code == 1
    assert "SDEdit needs the target model" in err
    code, _, err = ddib(
        "translate",
        pictures,
        "--method cyclegan --model",
        models / "here",
        "--out",
        tmp_path / "no",
    )
    assert code == 1
    assert "holds a diffusion model; a generator model is needed here" in err
