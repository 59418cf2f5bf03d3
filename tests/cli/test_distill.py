"""`ddib distill`, and the student that `ddib translate --method student` takes."""

import numpy as np
import pytest

from ddib_jax import pretrained
from ddib_jax.data.scale import Scale
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
    assert "pairs: 1 batch" in out
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


@pytest.mark.slow
def test_a_student_knows_the_units_of_its_teacher(ddib, tmp_path):
    scales = (
        Scale("uint16", (0.0,) * 3, (65535.0,) * 3),
        Scale("float32", (-1.0,) * 3, (2.0,) * 3),
    )
    for seed, scale in enumerate(scales):
        facts = {"pixels": scale.to_json()}
        pretrained.save_model(tmp_path / str(seed), with_statistics(seed), facts=facts)
    wide = np.random.default_rng(0).integers(0, 65536, (4, 8, 8, 3), np.uint16)
    np.save(tmp_path / "wide.npy", wide)
    toy = (
        "--steps 2 --batch-size 2 --warmup 1 --model-channels 8 --channel-mult 1"
        " --attention-resolutions --ode-steps 3 --out"
    )
    both = ("--source", tmp_path / "0", "--target", tmp_path / "1")
    student = tmp_path / "student"
    code, _, err = ddib("distill", *both, "--data", tmp_path / "wide.npy", toy, student)
    assert code == 0, err
    use = ("translate", tmp_path / "wide.npy", "--method student --model", student)
    code, _, err = ddib(*use, "--out", tmp_path / "out")
    assert code == 0, err
    found = np.load(tmp_path / "out" / "wide.npy")
    assert (found.dtype, found.shape) == (np.float32, wide.shape)
    assert found.min() >= -1
    assert 1 < found.max() <= 2
