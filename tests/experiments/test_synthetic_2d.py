"""The page of the study of the plane, from a small run on disk."""

import numpy as np
import pytest

from ddib_jax import runs
from ddib_jax.report import write_report
from pages.synthetic_2d import layout


def test_the_page(tmp_path):
    rng, cloud = np.random.default_rng(0), lambda: np.random.default_rng(0).normal(size=(20, 2))
    arrays = {f"a > b/{part}": cloud() for part in ("source", "latent", "target", "cycle")} | {
        "a > b/positions": rng.random(20)
    }
    arrays["density/a"] = rng.random((5, 5))
    facts = dict.fromkeys(("title", "command", "started", "finished"), "")
    run = runs.Run(
        "synthetic_2d", **facts, seconds=1.0, machine={}, versions={}, config={}, arrays=arrays
    )
    runs.write_run(tmp_path / "run", run)
    page = write_report(tmp_path / "run", layout=layout).read_text()
    assert "Likelihood" in page
    assert (tmp_path / "run" / "figures" / "clouds.png").is_file()
    runs.write_run(
        tmp_path / "empty",
        runs.Run("synthetic_2d", **facts, seconds=1.0, machine={}, versions={}, config={}),
    )
    with pytest.raises(ValueError, match="has no array 'PAIR/source'"):
        write_report(tmp_path / "empty", layout=layout)
