"""The script that trains the founding pair in given seconds, at toy size."""

import json
from dataclasses import replace

import pytest

import flagship


@pytest.mark.slow
def test_it_trains_judges_and_goes_on(tmp_path, capsys):
    config = flagship.Config(
        seconds=1.0,
        batch_size=4,
        reference=16,
        preconditioning="edm",  # the Wiener filter of real digits takes longer than all the rest
        model_channels=8,
        channel_mult=(1,),
        attention_resolutions=(),
        patch_size=4,
        steps_per_call=1,
        trial=4,
        count=8,
        ode_steps=2,
        out=tmp_path,
    )
    assert flagship.main(replace(config, only="seven")) is None
    assert not (tmp_path / "five").exists()
    written = (tmp_path / "seven" / "model.json").stat().st_mtime_ns
    page = flagship.main(config)
    assert (tmp_path / "seven" / "model.json").stat().st_mtime_ns == written
    assert page.exists()
    said = capsys.readouterr().out
    assert "| five-off-shell | seven-off-shell |" in said
    assert "| seven-off-shell | five-off-shell |" in said
    for digit in ("five", "seven"):
        plan = json.loads((tmp_path / f"plan-{digit}.json").read_text())
        assert min(plan.values()) >= 1
    for name in ("five", "seven", "five-off-shell", "seven-off-shell"):
        told = json.loads((tmp_path / name / "model.json").read_text())
        assert told["network"]["norm_num_groups"] == 4
        share = {"five-off-shell": 0.5, "seven-off-shell": 0.1}.get(name, 0.0)
        assert told["training"]["off_shell"] == share
    written = (tmp_path / "five" / "model.json").stat().st_mtime_ns
    flagship.main(config)  # nothing is trained again
    assert (tmp_path / "five" / "model.json").stat().st_mtime_ns == written
    assert "steps a second in the trial" not in capsys.readouterr().out
