"""The comparison of a user's folder with diffusers, on tiny pipelines."""

import pytest

pipelines = pytest.importorskip("tests.pretrained.pipelines")


@pytest.mark.parametrize("maker", [pipelines.stable_diffusion, pipelines.stable_diffusion_xl])
def test_a_pipeline_agrees_with_diffusers(tmp_path, capsys, maker):
    from check_pipeline import Config, main

    maker(tmp_path).save_pretrained(tmp_path / "saved")
    found = main(Config(tmp_path / "saved", steps=2))
    assert {"text", "U-Net", "autoencoder, encoding", "2 steps of DDIM"} <= found.keys()
    for name, (difference, deviation) in found.items():
        assert difference <= 1e-3, name
        assert deviation > 0 or name == "text of no prompt"
    assert "U-Net                    largest difference" in capsys.readouterr().out
