"""Files of weights read without torch: sound, damaged, and those that want to run code."""

import json
import pickle
import zipfile

import numpy as np
import pytest
from safetensors.numpy import save_file

from ddib_jax.pretrained.torch_files import open_weights
from ddib_jax.pretrained.torch_legacy import MAGIC
from ddib_jax.pretrained.torch_writer import save_state_dict

STATE = {
    "a.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "b.bias": np.ones(5, np.float32),
    "c": np.array(7, np.float32),
}


class Runs:
    """Pickles as a call of `os.system`."""

    def __reduce__(self):
        import os

        return os.system, ("touch pwned",)


@pytest.fixture
def file(tmp_path):
    save_state_dict(tmp_path / "model.pt", STATE)
    return tmp_path / "model.pt"


def test_what_is_written_is_read(file):
    weights = open_weights(file)
    assert list(weights) == list(STATE)
    assert len(weights) == 3
    assert all(
        np.array_equal(weights[key], STATE[key]) and weights[key].dtype == np.float32
        for key in STATE
    )


def test_torch_reads_what_is_written(file):
    torch = pytest.importorskip("torch", reason="torch is not installed (extra 'parity')")
    weights = torch.load(file, weights_only=True)
    assert list(weights) == list(STATE)
    assert all(np.array_equal(weights[key].numpy(), STATE[key]) for key in STATE)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64", "int64", "bool"])
def test_what_torch_wrote_is_read(tmp_path, dtype, zipped):
    torch = pytest.importorskip("torch", reason="torch is not installed (extra 'parity')")
    whole = torch.arange(24).reshape(4, 6).to(getattr(torch, dtype))
    state = {
        "whole": whole,
        "turned": whole.T,
        "part": whole[1:3, 2:],
        "parameter": torch.nn.Parameter(whole.float()),
        "none": whole[:0],
    }
    torch.save(state, tmp_path / "model.pt", _use_new_zipfile_serialization=zipped)
    weights = open_weights(tmp_path / "model.pt")
    for key, value in state.items():
        assert weights[key].shape == tuple(value.shape)
        assert np.array_equal(
            weights[key].astype(np.float64), value.detach().to(torch.float64).numpy()
        )


def test_an_old_file_that_is_cut_short_or_runs_code_is_refused(tmp_path, monkeypatch):
    """Of torch before 1.6."""
    torch = pytest.importorskip("torch", reason="torch is not installed (extra 'parity')")
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "old.pt"
    torch.save({"a": torch.ones(100)}, path, _use_new_zipfile_serialization=False)
    data = path.read_bytes()
    for length in (len(data) - 1, len(data) - 300, 40, 20):
        path.write_bytes(data[:length])
        with pytest.raises(ValueError, match=r"old\.pt is refused: "):
            open_weights(path)
    parts = [pickle.dumps(part, protocol=2) for part in (MAGIC, 1001, {}, {"a": Runs()}, [])]
    path.write_bytes(b"".join(parts))
    with pytest.raises(ValueError, match=r"old\.pt is refused: it wants to run (posix|nt)\.system"):
        open_weights(path)
    assert not (tmp_path / "pwned").exists()


def test_a_pickle_that_wants_to_run_code_is_refused(file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with zipfile.ZipFile(tmp_path / "evil.pt", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"a": Runs()}, protocol=2))
    with pytest.raises(
        ValueError, match=r"evil\.pt is refused: it wants to run (posix|nt)\.system"
    ):
        open_weights(tmp_path / "evil.pt")
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        (pickle.dumps({"a": 1}, protocol=2), "is no state dict: a is no tensor"),
        (pickle.dumps([1, 2], protocol=2), "is no state dict"),
        (b"\x80\x02", "is refused"),
    ],
)
def test_what_holds_no_tensors_is_refused(tmp_path, contents, words):
    with zipfile.ZipFile(tmp_path / "other.pt", "w") as archive:
        archive.writestr("archive/data.pkl", contents)
    with pytest.raises(ValueError, match=words):
        open_weights(tmp_path / "other.pt")


def test_damaged_files_are_named(file, tmp_path):
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="cannot be read: it is cut short"):
        open_weights(file)
    flipped = bytearray(whole)
    offset = whole.index(np.arange(24, dtype=np.float32).tobytes()) + 9
    flipped[offset] ^= 0xFF
    file.write_bytes(flipped)
    with pytest.raises(ValueError, match=r"damaged: 'a\.weight' cannot be read"):
        open_weights(file)["a.weight"]
    with zipfile.ZipFile(tmp_path / "other.pt", "w") as archive:
        archive.writestr("notes.txt", "no weights")
    with pytest.raises(ValueError, match="a zip file that torch did not write"):
        open_weights(tmp_path / "other.pt")
    with pytest.raises(FileNotFoundError, match="There is no file of weights"):
        open_weights(tmp_path / "missing.pt")


def test_safetensors(tmp_path):
    save_file(STATE, tmp_path / "model.safetensors", metadata={"format": "pt"})
    weights = open_weights(tmp_path / "model.safetensors")
    assert set(weights) == set(STATE)
    assert len(weights) == 3
    assert weights.metadata == {"format": "pt"}
    assert all(np.array_equal(weights[key], STATE[key]) for key in STATE)
    with pytest.raises(KeyError):
        weights["absent"]
    whole = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[:-8])
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        open_weights(tmp_path / "model.safetensors")


def sharded(folder, files, weight_map):
    for name, state in files.items():
        save_file({key: array.copy() for key, array in state.items()}, folder / name)
    (folder / "w.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": weight_map})
    )
    return folder / "w.safetensors.index.json"


def test_weights_in_several_files_are_one(tmp_path):
    parts = {
        "w-1.safetensors": {"a.weight": STATE["a.weight"]},
        "w-2.safetensors": {"b.bias": STATE["b.bias"], "c": STATE["c"]},
    }
    where = {key: name for name, state in parts.items() for key in state}
    weights = open_weights(sharded(tmp_path, parts, where))
    assert set(weights) == set(STATE)
    assert all(np.array_equal(weights[key], STATE[key]) for key in STATE)
    with pytest.raises(ValueError, match=r"w-1\.safetensors do not agree on z"):
        open_weights(sharded(tmp_path, parts, where | {"z": "w-1.safetensors"}))
    outside = r"names the file \.\./w-3\.safetensors, which does not lie beside it"
    with pytest.raises(ValueError, match=outside):
        open_weights(sharded(tmp_path, parts, where | {"c": "../w-3.safetensors"}))
    with pytest.raises(FileNotFoundError, match=r"w-9\.safetensors"):
        open_weights(sharded(tmp_path, parts, where | {"c": "w-9.safetensors"}))
    (tmp_path / "w.safetensors.index.json").write_text("{}")
    with pytest.raises(ValueError, match="is no index of safetensors files"):
        open_weights(tmp_path / "w.safetensors.index.json")
