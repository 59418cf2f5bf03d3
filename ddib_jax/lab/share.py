"""A state of the page as a command line and as Python, which give the same pixels."""

import shlex

from ddib_jax.bridge import GRID, SOLVER, STEPS
from ddib_jax.lab.origin import Origin
from ddib_jax.lab.pictures import PREFIX
from ddib_jax.lab.state import Side, State
from ddib_jax.perturbations import get_perturbation

PICTURE, REFERENCE = "picture.png", "reference.png"
"""Files that a dropped or drawn picture, and a reference, are called by; the page saves them."""


def as_command(state: State, origin: Origin) -> str:
    """The state as `ddib translate`, which writes its translation to the folder `lab`.

    Of a data set or folder the image is the last of those that are translated.
    """
    words = ["ddib", "translate"]
    if state.image.startswith(PREFIX):
        words.append(PICTURE)
    else:
        words += [*origin.words, "--limit", str(int(state.image) + 1)]
        words += ["--split", origin.split] if origin.split != "test" else []
    if origin.one:
        words += ["--model", origin.source.name]
    else:
        words += ["--source", origin.source.name, "--target", origin.target.name]
    if origin.image_size is not None:
        words += ["--image-size", *map(str, origin.image_size)]
    for name, side in (("source", state.source), ("target", state.target)):
        for option, said in _told(side):
            words += [f"--{name}-{option}", str(said)]
    if state.moved:
        words += ["--perturb", *(f"{name}={value!r}" for name, value in state.moved)]
    if state.couple is not None:
        words += ["--couple", state.couple]
        if state.couple_strength != 1:
            words += ["--couple-strength", repr(state.couple_strength)]
        if state.until is not None:
            words += ["--until", repr(state.until)]
    for option, value, usual in (
        ("steps", state.steps, STEPS),
        ("solver", state.solver, SOLVER),
        ("grid", state.grid, GRID),
        ("seed", state.seed, 0),
    ):
        if value != usual:
            words += [f"--{option}", str(value)]
    if _looks(state):
        words += ["--reference", _reference(state, origin)]
    return shlex.join([*words, "--out", "lab"])


def as_python(state: State, origin: Origin) -> str:
    """The state as Python that ends with `result`, an array [1 h w c] in [-1, 1]."""
    number = 0 if state.image.startswith(PREFIX) else int(state.image)
    words = [PICTURE] if state.image.startswith(PREFIX) else list(origin.words)
    size = "" if origin.image_size is None else f", image_size={origin.image_size}"
    sides = [
        _called(origin.source.name, state.source, size),
        _called(origin.target.name, state.target, size),
    ]
    options = ""
    if state.moved:
        chain = [f"{name}={value!r}" for name, value in state.moved]
        options += f"    perturb=parse_perturbation({chain!r}, ()),\n"
    if state.couple is not None:
        options += (
            f"    coupling=parse_coupling({state.couple!r}, source.model.data_shape,"
            f" strength={state.couple_strength!r}),\n"
        )
        options += f"    until={state.until!r},\n" if state.until is not None else ""
    if _looks(state):
        options += f"    reference=read({_reference(state, origin)!r}, 1)[0],\n"
    return f"""\
import jax
import numpy as np

from ddib_jax import pretrained, translation
from ddib_jax.bridge import DDIB, Bridge, parse_coupling
from ddib_jax.data.inputs import open_inputs
from ddib_jax.perturbations import parse_perturbation
from ddib_jax.solvers import get_solver

ode = dict(steps={state.steps}, grid={state.grid!r}, solver=get_solver({state.solver!r}))
source = Bridge.over({sides[0]}, **ode)
target = Bridge.over({sides[1]}, **ode)


def read(word, count):
    words = [word] if isinstance(word, str) else word
    shape = source.model.image_shape
    return open_inputs(words, shape, split={origin.split!r}, limit=count).take(count - 1, count)


image = read({words!r}, {number + 1})
ddib = DDIB(
    source,
    target,
{options})
result = translation.translate(
    ddib, image, key=jax.random.key({state.seed}), indices=np.asarray([{number}])
)
"""


def _told(side: Side) -> list[tuple[str, str | float]]:
    """The options of `ddib translate` for one side, without its name."""
    said = (
        ("class", side.label),
        ("prompt", side.prompt),
        ("negative", side.negative),
        ("guidance", side.guidance),
    )
    return [(option, value) for option, value in said if value is not None]


def _called(name: str, side: Side, size: str) -> str:
    opened = f"pretrained.open({name!r}{size})"
    told = [
        f"{'label' if option == 'class' else option}={value!r}" for option, value in _told(side)
    ]
    return f"pretrained.conditioned({', '.join([opened, *told])})"


def _looks(state: State) -> bool:
    return any("reference" in get_perturbation(name).needs for name, _ in state.moved)


def _reference(state: State, origin: Origin) -> str:
    """The word of the reference: a data set, whose first image is taken, or a file."""
    first = (state.reference or "0") == "0" and len(origin.words) == 1
    return origin.words[0] if first else REFERENCE
