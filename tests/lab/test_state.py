"""The state of the page and its address."""

from urllib.parse import urlencode

import pytest

from ddib_jax.lab import Side, State
from ddib_jax.lab.state import couplings, solvers

FULL = State(
    image="7",
    perturb=(("partial-noise", 20.0), ("blur", 0.5), ("add-noise", 0.1), ("blur", 0.25)),
    couple="low-pass:2",
    couple_strength=0.5,
    until=0.75,
    steps=12,
    solver="heun",
    grid="karras",
    source=Side(label="3", guidance=1.5),
    target=Side(prompt="a & b = c", negative="", guidance=-2.0),
    reference="picture-0123456789abcdef",
    seed=4,
)


def test_a_state_goes_through_its_address():
    assert State.from_query(FULL.to_query()) == FULL
    assert State.from_query("") == State()
    assert State().to_query() == ""
    assert State(image="3").to_query() == "image=3"


def test_the_order_of_perturbations_is_kept_and_neutral_ones_do_nothing():
    state = State.from_query(
        "perturb=rotate=5&perturb=blur=0&perturb=add-noise=.1&perturb=keep-low=1"
    )
    assert [name for name, _ in state.perturb] == ["rotate", "blur", "add-noise", "keep-low"]
    assert state.moved == (("rotate", 5.0), ("add-noise", 0.1))


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        ({"image": "../../etc/passwd"}, "is no image"),
        ({"reference": "/etc/passwd"}, "is no image"),
        ({"image": "picture-xyz"}, "is no image"),
        ({"perturb": "blur"}, "write the perturbation as blur=VALUE"),
        ({"perturb": "blur=x"}, "'x' is no number for blur"),
        ({"perturb": "blur=nan"}, "'nan' is no number"),
        ({"perturb": "blur=101"}, "from 0 to 100"),
        ({"perturb": "melt=1"}, "Unknown perturbation 'melt'"),
        ({"perturb": "local-rotation=0.5"}, "whole numbers"),
        ({"couple": "mask:/etc/passwd"}, "'mask' reads files"),
        ({"couple": "agreement:a,b"}, "'agreement' reads files"),
        ({"couple": "low-pass"}, "is no coupling"),
        ({"until": "1"}, "no coupling whose end"),
        ({"couple": "low-pass:2", "couple-strength": "-1"}, "strength of the coupling is -1"),
        ({"steps": "0"}, "number of steps is 0"),
        ({"steps": "1e3"}, "no whole number for steps"),
        ({"steps": "9999"}, "from 1 to 400"),
        ({"solver": "magic"}, "is no solver of this page"),
        ({"solver": "lattice-heun"}, "is no solver of this page"),
        ({"grid": "graph"}, "Unknown grid 'graph'"),
        ({"seed": "-1"}, "no whole number for seed"),
        ({"source-class": "labels.npy"}, "not by a file"),
        ({"target-prompt": 1001 * "a"}, "has 1001 characters"),
        ({"sorce-class": "1"}, "does not know: 'sorce-class'"),
        ({"image": 9000 * "1"}, "The address has"),
    ],
)
def test_a_wrong_address_is_one_sentence(pairs, said):
    with pytest.raises(ValueError, match=r"[a-z]") as error:
        State.from_query(urlencode(pairs))
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_twice_or_too_much():
    with pytest.raises(ValueError, match="has twice 'image'"):
        State.from_query("image=1&image=2")
    with pytest.raises(ValueError, match="13 perturbations"):
        State.from_query("&".join(13 * ["perturb=blur=0"]))
    with pytest.raises(ValueError, match="comes before the latent's own"):
        State.from_query("perturb=blur=1&perturb=blur-image=1")


def test_nothing_of_the_page_reads_a_file():
    assert {"mask", "agreement"}.isdisjoint(couplings())
    assert "lattice-heun" not in solvers()
