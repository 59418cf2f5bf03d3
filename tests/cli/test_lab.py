"""`ddib lab`: what is wrong is one sentence before anything is served."""

import runpy
from contextlib import nullcontext
from pathlib import Path

import pytest

from ddib_jax.cli import parse
from ddib_jax.lab import listen

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--source nothing --target seven", "There is no model 'nothing'"),
        ("--source five", "Name the target model too."),
        ("--target seven", "Name the source model too."),
        ("--model digits --source five", "Name a source and a target model, or one conditional"),
        ("--state perturb=melt=1", "Unknown perturbation 'melt'"),
        ("--state image=../secret", "is no image"),
        ("moons --model moons", "'moons' knows points, not images"),
        ("nowhere.png", "There is no 'nowhere.png'"),
        ("--address 203.0.113.7", "cannot be opened"),
    ],
)
def test_a_wrong_command_is_one_sentence(ddib, words, said):
    code, out, err = ddib("lab", words, "--port", "0")
    assert (code, out) == (1, "")
    assert err.startswith("ddib: ")
    assert said in err
    assert err.count("\n") == 1


def test_a_port_that_is_in_use_is_one_sentence_before_models_are_read(ddib):
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        code, out, err = ddib("lab", "--source", "no", "--target", "model", "--port", port)
    assert (code, out) == (1, "")
    assert err.startswith(f"ddib: Port {port} of 127.0.0.1 cannot be opened (address already in")
    assert err.count("\n") == 1


def test_defaults_and_borders():
    assert parse(["lab"]).address == "127.0.0.1"
    assert parse(["lab", "--host", "a.example", "b.example"]).host == ("a.example", "b.example")
    with pytest.raises(SystemExit) as stop:
        parse(["lab", "--port", "65536"])
    assert stop.value.code == 2


def test_the_space_serves_the_same_page(monkeypatch):
    served = {}
    asked = lambda origin, port, **options: served.update(options, port=port)
    monkeypatch.setattr("ddib_jax.lab.serve", asked)
    monkeypatch.setattr("ddib_jax.lab.listen", lambda *address: nullcontext(address))
    monkeypatch.setattr("ddib_jax.parallel.keep_compiled", lambda: None)
    monkeypatch.setenv("SPACE_HOST", "somebody-lab.hf.space")
    runpy.run_path(str(ROOT / "space" / "app.py"), run_name="__main__")
    assert served == {
        "port": ("0.0.0.0", 7860),
        "hosts": ["somebody-lab.hf.space"],
        "token": None,
        "framed": True,
    }
