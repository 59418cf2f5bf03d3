"""The methods that edit, and what they are made of, on the command line and a tiny model."""

import itertools
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest

pytest.importorskip("tokenizers", reason="tokenizers is not installed (extra 'text')")

from ddib_jax import pretrained
from ddib_jax.cli import parse
from ddib_jax.cli.editing import EDITING
from ddib_jax.editing import Pix2PixZero, RegularisedInversion, load_bases
from ddib_jax.preconditioning import EDM
from ddib_jax.pretrained import TextEncoder
from ddib_jax.text import learn_tokenizer
from ddib_jax.trainer import Recipe
from tests.nets.small import COMPILED_QUICKLY

pytestmark = pytest.mark.slow

FEW = "--steps 2 --solver ddim --batch-size 2 --limit 1"
# A path is one word of a command line, whatever it holds.
RED, BLUE = Path("a red cat"), Path("a blue cat")
PROMPTS = ("--source-prompt", RED, "--target-prompt", BLUE)


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """A model directory of an untrained model of 8 x 8 pictures that is told texts."""
    folder = tmp_path_factory.mktemp("told")
    captions = ["a red cat", "a blue cat on white"]
    tokenizer = learn_tokenizer(captions, folder / "tokenizer", size=560)
    options = {"model_channels": 8, "channel_mult": (1,), "attention_resolutions": (8,)}
    recipe = Recipe(captions=True, text_width=16, text_layers=1, patch_size=1, **options)
    model = recipe.untrained((8, 8, 3), EDM(0.5), None, tokenizer=tokenizer)
    # The network's last layer is not zero, but what it adds to the prior should be seen.
    params = jax.tree.map(lambda leaf: 2 * leaf, model.params)
    encoder = TextEncoder(
        model.network.text_encoder.clone(parent=None), params["text_encoder"], tokenizer
    )
    unet = model.network.unet.clone(parent=None)
    plain = model.replace(network=unet, params=params["unet"])
    return pretrained.save_model(folder / "model", plain, facts={}, encoder=encoder)


@pytest.fixture(scope="module")
def sentences(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sentences")
    for name, text in {"red": "a red cat\nred on white\n", "blue": "a blue cat\n"}.items():
        (folder / f"{name}.txt").write_text(text)
    return folder


@pytest.fixture(scope="module")
def bases(told, tmp_path_factory):
    """Bases of the model, by the command."""
    path = tmp_path_factory.mktemp("bases") / "cat.npz"
    words = ["bases", "--model", str(told), "--prompt", "a cat", "--out", str(path)]
    few = "--seeds 2 --knots 2 --components 3 --steps 2 --solver ddim --batch-size 2"
    parse([*words, *few.split()]).run()
    assert path.with_suffix(".png").is_file()
    return path


FREE = ("--condition-prompt", RED, "--prompt", BLUE, "--structure", "1e4")
METHODS = {
    "ddib": PROMPTS,
    "pnp": (*PROMPTS, "--features-until", ".2"),
    "p2p": (*PROMPTS, "--reweight", "blue=3", "--blend", "cat", "--cross-until", ".1"),
    "masactrl": PROMPTS,
    "ctrl-x": (*PROMPTS, "--control-until", ".1"),
    "pix2pix-zero": (*PROMPTS, "--attention-weight", "1e3"),
    "negative-prompt": PROMPTS,
    "null-text": (*PROMPTS, "--null-steps", "2"),
    "freecontrol": FREE,
}


@partial(jax.jit, compiler_options=COMPILED_QUICKLY)
def applied(method, keys, image):
    return method(keys, image)


def prepared(told, bases, method, *options):
    """A method as its words on a command line say."""
    words = f"translate x --out y --model MODEL --steps 2 --solver ddim --method {method}".split()
    words = [str(told) if word == "MODEL" else word for word in words]
    extra = ("--bases", bases) if method == "freecontrol" else ()
    command = parse([*words, *map(str, (*options, *extra))])
    chosen = getattr(command.options, method.replace("-", "_"))
    return chosen.prepare(command.models, command.crossing)


def made(told, bases, method, *options):
    """What a method makes of a picture."""
    shape, translator, *_ = prepared(told, bases, method, *options)
    image = np.tanh(np.random.default_rng(0).normal(size=(1, *shape)))
    keys = jax.random.split(jax.random.key(0), 1)
    return np.asarray(applied(translator, keys, image.astype(np.float32)))


def test_every_method_is_its_own(told, bases):
    """Each translates, and no two alike."""
    guided = ("--target-guidance", 2)
    found = {name: made(told, bases, name, *words, *guided) for name, words in METHODS.items()}
    assert set(METHODS) == {"ddib", *EDITING}
    form = [
        "--concept",
        "cat",
        "--form",
        "kick",
        "--warm-up",
        "1",
        "--start",
        "image",
        "--appearance",
        "0",
    ]
    found["another form"] = made(told, bases, "freecontrol", *FREE, *form)
    assert all(np.isfinite(image).all() for image in found.values())
    for one, other in itertools.combinations(found, 2):
        assert np.abs(found[one] - found[other]).max() > 1e-4, (one, other)


def test_options_reach_the_method(told, bases, pictures):
    """What needs no picture to be seen."""
    method = lambda *words: prepared(told, bases, *words).translator
    image = pictures / "a-rgb.png"
    regularised = method("pix2pix-zero", *PROMPTS, "--regularise")
    assert isinstance(regularised, RegularisedInversion)
    assert isinstance(regularised.coupling, Pix2PixZero)
    objects = method("masactrl", *PROMPTS, "--object", "cat").coupling.objects
    np.testing.assert_array_equal(np.flatnonzero(objects.source), [3])
    dressed = method("ctrl-x", *PROMPTS, "--appearance-image", image, "--control-until", ".1")
    assert dressed.until == 0.1
    assert dressed.shown.shape == (8, 8, 3)
    also = ("--also", image, image, "--also-weight", "2", "0", "--also-until", ".1", "3")
    concepts = ("--also-concept", "cat", "", "--concept", "red")
    coupling = method("freecontrol", *FREE, *also, *concepts).coupling
    assert [each.weight for each in coupling.further] == [2, 0]
    assert [each.until for each in coupling.further] == [0.1, 3]
    assert coupling.further[1].concept is None
    np.testing.assert_array_equal(np.flatnonzero(coupling.further[0].concept), [3])
    np.testing.assert_array_equal(np.flatnonzero(coupling.concept), [2])
    assert coupling.cross
    other = method("freecontrol", *FREE, "--also", image, "--also-prompt", BLUE)
    assert other.until == coupling.ends
    first, second = coupling.further[0], other.coupling.further[0]
    assert np.abs(first.cond["text"] - second.cond["text"]).max() > 1e-3
    assert np.abs(first.latent - second.latent).max() > 1e-6


def test_bases_of_layers_that_are_named(ddib, told, tmp_path):
    words = ["bases --seeds 1 --knots 1 --model", told, "--prompt cat"]
    code, *said = ddib(*words, "--layers", "mid_block.resnets.0", "--out", tmp_path / "cat.npz")
    assert code == 0
    assert "mid_block.resnets.0: " in said[0]
    assert load_bases(tmp_path / "cat.npz").sites == ("mid_block.resnets.0",)
    code, *said = ddib(*words, "--layers", "nowhere", "--out", tmp_path / "no.npz")
    assert code == 1
    assert "The network has no site 'nowhere'" in said[-1]


def test_a_picture_under_control(ddib, told, bases, pictures, tmp_path):
    words = ("translate", pictures, "--model", told, FEW, "--method freecontrol", *FREE)
    code, *said = ddib(*words, "--bases", bases, "--out", tmp_path / "out")
    assert code == 0, said[-1]
    assert (tmp_path / "out" / "a-rgb.png").is_file()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("freecontrol --prompt a --condition-prompt a", "needs a model (--model) and bases of it"),
        ("freecontrol --bases NONE --prompt a --condition-prompt a", "There are no bases"),
        ("freecontrol --bases BASES --prompt a --condition-prompt cat --concept dog",
         "does not say 'dog'; its words are cat"),
        ("freecontrol --bases BASES --source-prompt a", "has no use for --source-prompt"),
        ("freecontrol --bases BASES --prompt a --condition-prompt a --also five --also-weight 1 2",
         "2 are given for 1 images"),
        ("p2p --source-prompt cat", "is told a text of every image"),
        ("p2p --source-prompt cat --target-prompt red,cat --edit replace", "Write as many words"),
        ("p2p --source-prompt cat --target-prompt red --reweight blue=2", "does not say 'blue'"),
        ("p2p --source-prompt cat --target-prompt red --reweight red", "Write WORD=FACTOR"),
        ("masactrl --source-prompt cat --target-prompt red --object cat", "not say 'cat'"),
        ("masactrl --source-prompt a --target-prompt b --object a b c", "not 3 words"),
        ("pnp --source-prompt cat --target-prompt red --attention-weight 2", "is an option of pix"),
        ("ctrl-x --source-prompt cat --target-prompt red --appearance-image NONE",
         "no such file"),
        ("pix2pix-zero --source-prompt cat --edit-from RED", "give both files"),
        ("pix2pix-zero --source-prompt cat --edit-from RED --edit-to NONE", "There is no file"),
        ("null-text --source-prompt cat --target-prompt red", "add --solver ddim"),
    ],
)  # fmt: skip
def test_what_does_not_go_together(ddib, told, bases, sentences, pictures, tmp_path, words, said):
    places = {"BASES": bases, "RED": sentences / "red.txt", "NONE": tmp_path / "none"}
    method, *options = (places.get(word, Path(word.replace(",", " "))) for word in words.split())
    out = ("--method", method, "--steps 2 --out", tmp_path / "out")
    code, *printed = ddib("translate", pictures, "--model", told, *out, *options)
    assert code == 1
    assert said in printed[-1]
    assert "Traceback" not in printed[-1]


def test_models_that_are_told_no_text(ddib, bases, pictures, tmp_path):
    words = ("translate", "five", "--model digits --steps 2 --limit 1 --out", tmp_path / "out")
    classes = "--source-class 5 --target-class 7 --method"
    assert "is told texts" in ddib(*words, classes, "p2p")[-1]
    assert "of another model" in ddib(*words, classes, "freecontrol --bases", bases)[-1]
    assert "attends to no text" in ddib(*words, classes, "pix2pix-zero")[-1]


def test_help_of_one_method(capsys):
    for method, own, other in (
        ("p2p", "--reweight", "--concept"),
        ("ctrl-x", "--control-until", "--concept"),
        ("ddib", "--perturb", "--factor"),
    ):
        with pytest.raises(SystemExit) as ended:
            parse(["translate", f"--method={method}", "--help"])
        assert ended.value.code == 0
        shown = capsys.readouterr().out
        assert own in shown
        assert other not in shown
