"""`ddib distill`, and the student that `ddib translate --method student` takes."""

import pytest

from ddib_jax import pretrained
from tests.cli.test_switch import with_statistics


@pytest.mark.slow
def test_distilled_and_translated(ddib, pictures, models, tmp_path):
    for seed, name in enumerate(("here", "there")):
        pretrained.save_model(tmp_path / name, with_statistics(seed), facts={})
    both = ("--source", tmp_path / "here", "--target", tmp_path / "there")
    toy = (
        "--steps 2 --batch-size 2 --warmup 1 --model-channels 8 --channel-mult 1"
        " --attention-resolutions --ode-steps 3 --out"
    )
    student = tmp_path / "student"
    code, out, err = ddib("distill", *both, "--data", pictures, toy, student)
    assert code == 0, err
    assert f"The student lies in {student}." in out
    use = ("translate", pictures, "--method student --model")
    code, out, err = ddib(*use, student, "--out", tmp_path / "out")
    assert code == 0, err
    assert len(list((tmp_path / "out").glob("*.png"))) == 6  # with the sheet
    for words, said in (
        ((*use, student, "--steps 3"), "Student has no use for --steps"),
        ((*use, models / "here"), "a generator model is needed here"),
        (("translate", pictures, "--method student"), "needs a distilled network as --model"),
    ):
        code, _, err = ddib(*words, "--out", tmp_path / "no")
        assert code == 1
        assert said in err
