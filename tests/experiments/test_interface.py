"""The bound on translations whose latents are not the target's, and what aligning them brings."""

import pytest

import interface


@pytest.mark.slow
def test_translations_are_no_nearer_than_the_bound(tmp_path):
    pytest.importorskip("ott", reason="extra 'studies'")
    config = interface.Config(points=200, meetings=(0.25, 4.0), out=tmp_path)
    low, high = (
        dict(zip(table.columns, row, strict=True))
        for table in [interface.mixtures(config)]
        for row in table.rows
    )
    for row in (low, high):
        assert 0 < row["lower bound"] <= row["translations"]
    assert low["translations"] > 2 * high["translations"]
    assert low["translations, aligned"] < 0.6 * low["translations"]
