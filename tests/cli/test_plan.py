"""`ddib plan`: what XLA counts is what the network has; collectives are read from real programs."""

import os
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest

from ddib_jax import parallel
from ddib_jax.cli.plan import Plan
from ddib_jax.cli.topology import shortage
from ddib_jax.pretrained.published import PUBLISHED
from ddib_jax.roofline import CHIPS, Chip, Cost, collectives

SMALL = {
    "image_size": 8,
    "batch_size": 8,
    "model_channels": 32,
    "channel_mult": (1,),
    "attention_resolutions": (),
    "reference": 16,
}


def test_costs_of_a_known_program():
    """A product of n x n matrices: 2 n^3 operations, three matrices of traffic."""
    n = 256
    shape = jax.ShapeDtypeStruct((n, n), jnp.float32)
    cost = Cost.of(jax.jit(jnp.matmul).lower(shape, shape))
    assert cost.flops == pytest.approx(2 * n**3, rel=0.01)
    assert cost.traffic == pytest.approx(3 * 4 * n**2, rel=0.01)
    assert cost.arguments == 2 * 4 * n**2
    assert cost.memory >= 3 * 4 * n**2
    assert cost.collectives == {}
    assert cost.intensity == pytest.approx(cost.flops / cost.traffic)


@pytest.mark.parametrize(
    ("text", "flops"), [('custom_call_target="__cudnn$convForward"', 1000.0), ("fusion", 10.0)]
)
def test_what_libraries_compute_is_counted(text, flops):
    """XLA counts a call of cuDNN as nothing; the program as it was lowered has it all."""
    sizes = ("argument", "temp", "output", "alias", "generated_code")
    compiled = SimpleNamespace(
        memory_analysis=lambda: SimpleNamespace(**{f"{name}_size_in_bytes": 1 for name in sizes}),
        cost_analysis=lambda: {"flops": 10.0, "bytes accessed": 5.0},
        as_text=lambda: text,
    )
    lowered = SimpleNamespace(cost_analysis=lambda: {"flops": 1000.0})
    cost = Cost.of(lowered, compiled=compiled)
    assert cost.flops == flops
    assert (cost.traffic, cost.memory) == (5.0, 3)


def test_roofline_and_batch_by_hand():
    cost = Cost(
        arguments=400, temporary=50, flops=1e6, traffic=2e3, collectives={"all-reduce": (2, 300)}
    )
    chip = Chip("one", 1000, 1e9, 1e6, 1e5)
    assert cost.seconds(chip, 4) == pytest.approx(
        {"arithmetic": 1e-3, "memory": 2e-3, "links": 300 * 2 * 3 / 4 / 1e5}
    )
    assert cost.seconds(chip, 1)["links"] == 0
    assert cost.largest_batch(chip, 5) == 60


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            (
                "  %ar = (f32[256,256]{1,0:T(8,128)S(1)}, f32[]{:T(128)}) all-reduce(%a, %b),"
                " channel_id=1"
            ),
            {"all-reduce": (1, 4 * 65537)},
        ),
        (
            (
                "  %ar.1 = bf16[3,5]{1,0} all-reduce-start(%a), replica_groups={}\n %d ="
                " bf16[3,5]{1,0} all-reduce-done(%ar.1)"
            ),
            {"all-reduce": (1, 30)},
        ),
        (
            "  %g = f32[8,2]{1,0} all-gather(%a)\n  %p = s32[4]{0} collective-permute(%a)",
            {"all-gather": (1, 64), "collective-permute": (1, 16)},
        ),
        ("  %x = f32[8]{0} add(%all-reduce, %b)", {}),
    ],
)
def test_collectives_are_read(line, expected):
    assert collectives(line) == expected


def test_a_pmapped_mean_has_its_all_reduce():
    step = jax.pmap(lambda x: jax.lax.pmean(x, parallel.BATCH_AXIS), axis_name=parallel.BATCH_AXIS)
    shape = jax.ShapeDtypeStruct((jax.local_device_count(), 100), jnp.float32)
    found = Cost.of(step.lower(shape)).collectives
    assert found == {"all-reduce": (1, 400)}


@pytest.mark.slow
@pytest.mark.parametrize("work", ["training", "translation"])
def test_a_plan_for_these_devices(capsys, work, unchecked):
    Plan(**SMALL, work=work, grid_steps=5).run()
    said = capsys.readouterr().out
    assert f"{work} on local" in said
    assert "8 images" in said
    assert "GiB a device" in said
    assert "TFLOP a device" in said


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            (
                "RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Ran out of memory in memory"
                " space hbm. Used 20.53G of 15.75G hbm. Exceeded hbm capacity"
            ),
            "Used 20.53G of 15.75G hbm.",
        ),
        (
            (
                "RESOURCE_EXHAUSTED: Ran out of memory on HBM, temporaries (20.1G) and more (3.2G)"
                " exceed 15.75G.\nTotal"
            ),
            "Ran out of memory on HBM, temporaries (20.1G) and more (3.2G) exceed 15.75G.",
        ),
        ("RESOURCE_EXHAUSTED: something else\nand more", "RESOURCE_EXHAUSTED: something else."),
    ],
)
def test_what_is_short_is_said_whole(error, said):
    assert shortage(error) == said


@pytest.mark.slow
def test_classes_are_planned_for(capsys, unchecked):
    """The table of ten classes and of the one that means any: 11 x 4 x 32 weights more."""
    said = []
    for options in ({}, {"conditional": True, "classes": 10, "label_dropout": 0.1}):
        plan = Plan(**SMALL, **options)
        said.append(sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(plan._model).params)))
    plan.run()
    assert said[1] - said[0] == 11 * 4 * SMALL["model_channels"]
    assert "8 images" in capsys.readouterr().out


@pytest.mark.slow
def test_the_known_networks_have_their_papers_size(unchecked):
    """Stable Diffusion's are those of the published weights."""
    sizes = {"adm-64": 295, "adm-256": 552, "sd15": 859.520964, "sdxl": 2567.463684}
    assert sizes.keys() == PUBLISHED.keys()
    for name, millions in sizes.items():
        params = jax.eval_shape(Plan(like=name)._model).params
        weights = sum(leaf.size for leaf in jax.tree.leaves(params))
        assert weights / 1e6 == pytest.approx(millions, rel=1e-9 if millions > 600 else 0.01)


@pytest.mark.slow
def test_a_training_with_captions_is_planned(capsys, unchecked):
    Plan(**SMALL | {"captions": True, "text_width": 16, "label_dropout": 0.1}).run()
    said = capsys.readouterr().out
    assert "training on local" in said
    assert "TFLOP a device for a step" in said


@pytest.mark.slow
def test_guidance_doubles_the_arithmetic(capsys, unchecked):
    costs = []
    for guided in (False, True):
        options = {"captions": True, "text_width": 16, "work": "translation", "guided": guided}
        plan = Plan(**SMALL | options)
        model = jax.eval_shape(plan._model)
        assert type(model.network).__name__ == "UNet2DCondition"
        costs.append(plan._cost(model, jax.local_devices()).flops)
    assert costs[1] == pytest.approx(2 * costs[0], rel=0.05)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"batch_size": 7, "accumulate": 2}, "does not divide over 1 devices in 2 parts"),
        ({"topology": "v5e:3x3x3"}, "topologies are v5e:2x2"),
        ({"conditional": True}, "number of classes"),
        ({"classes": 3}, "number of classes"),
        ({"like": "five", "conditional": True, "classes": 3}, "has the classes that it has"),
        ({"label_dropout": 0.1}, "dropped in a training that has some alone"),
        ({"like": "five", "captions": True}, "is told what it is told; leave --captions out"),
        ({"captions": True, "text_width": 24}, "give a --text-width that is a multiple"),
        ({"guided": True}, "A training is not guided"),
        ({"guided": True, "work": "translation"}, "told nothing to be guided to"),
    ],
)
def test_what_cannot_be_planned_is_one_sentence(given, said, unchecked):
    if jax.local_device_count() > 1 and "batch_size" in given:
        pytest.skip("for one device")
    with pytest.raises(ValueError, match=said):
        Plan(**SMALL | given).run()


@pytest.mark.slow
def test_a_plan_for_chips_that_are_not_here(capsys, unchecked):
    pytest.importorskip("libtpu", reason="libtpu is not installed (extra 'plan')")
    if jax.default_backend() != "cpu" or os.environ.get("DDIB_PLAN") is None:
        pytest.skip("compiles for a TPU for a minute or more; set DDIB_PLAN=1")
    Plan(**SMALL | {"topology": "v5e:2x2"}).run()
    said = capsys.readouterr().out
    assert "4 x TPU v5e" in said
    assert "fits in 16 GiB" in said
    assert "1 all-reduce of" in said
    assert CHIPS["TPU v5 lite"].memory == 63 * 2**28
