"""The cost of editing, of the smallest network that is told texts."""

import pytest


@pytest.mark.slow
def test_a_gradient_costs_more_than_it_reads(capsys):
    from editing_cost import Config, main

    methods = ("guided", "freecontrol structure")
    table = main(Config(model="captioned", methods=methods, precision="float32", remat=(False,)))
    guided, controlled = (row[table.columns.index("TFLOP")] for row in table.rows)
    # three evaluations beside two, and a way back that is shorter than the network
    assert 1.5 * guided < controlled < 2.5 * guided
    assert "| freecontrol structure | no | 3, 1 with a gradient |" in capsys.readouterr().out
