"""Files of diffusers' folders: options in JSON, weights whole, in parts or as a variant."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ddib_jax.files import read_json
from ddib_jax.pretrained.torch_files import INDEX, open_weights, shard_files
from ddib_jax.pretrained.wrapped import Renamed

STEM = "diffusion_pytorch_model"
"""What the names of diffusers' files of weights begin with."""
_PRIVATE = "_"  # what begins so in a configuration is about the file, not the network
_OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
"""Layer of attention before diffusers 0.17 -> its name since."""


def options_of(
    kind: type, path: Path, config: Mapping[str, Any], *, ignored: Collection[str] = ()
) -> dict[str, Any]:
    """The options of a network of ours that a configuration of its twin gives.

    kind: a dataclass, whose fields are the twin's options. path: of the model, for errors. ignored:
    options that are not the network's. Raises ValueError for unknown ones, and for a configuration
    of another class.
    """
    fields = {field.name: field.default for field in dataclasses.fields(kind)}
    options = {
        name: value
        for name, value in config.items()
        if not name.startswith(_PRIVATE) and name not in ignored
    }
    if unknown := sorted(options.keys() - (fields.keys() - {"parent", "name", "dtype"})):
        raise ValueError(f"{path} has the unknown option {', '.join(unknown)} of {kind.__name__}.")
    return {name: _typed(fields[name], value) for name, value in options.items()}


def read_options(path: Path) -> dict[str, Any]:
    """The object of a configuration; raises as `read_json` does, and ValueError for no object."""
    options = read_json(path, "the options of a model of diffusers")
    if not isinstance(options, dict):
        raise ValueError(f"{path} holds no options.")
    return options


def size_of(path: Path, size: Any) -> tuple[int, int]:
    """Height and width that a configuration's sample_size says; ValueError for none."""
    pair = tuple(size) if isinstance(size, list) else (size, size)
    if len(pair) != 2 or not all(isinstance(side, int) and side > 0 for side in pair):
        raise ValueError(
            f"{path} gives the sample_size {size!r}; a bridge needs the height and width of the"
            " images."
        )
    return pair


def weight_files(path: Path, *, stems: Sequence[str] = (STEM,)) -> list[Path]:
    """The files of weights of a folder, the index first where they are several.

    safetensors come before `.bin`, `unet/` before the folder itself, and a variant such as fp16
    (`diffusion_pytorch_model.fp16.safetensors`) only where it is all there is. stems: what their
    names begin with. Raises FileNotFoundError where there are none, ValueError where there are
    several variants alone.
    """
    folders = (path / "unet", path)
    for endings in ((".safetensors", f".safetensors{INDEX}"), (".bin", f".bin{INDEX}")):
        names = [stem + ending for stem in stems for ending in endings]
        for file in (folder / name for name in names for folder in folders):
            if file.is_file():
                return _with_parts(file)
    for ending in (".safetensors", ".bin"):
        # either of which transformers and diffusers write
        patterns = [f".*{ending}", f"{ending}.index.*.json", f".*{ending}{INDEX}"]
        for folder in folders:
            found = [
                file
                for stem in stems
                for pattern in patterns
                for file in sorted(folder.glob(stem + pattern))
                if "-of-" not in file.name
            ]
            if len(found) > 1:
                raise ValueError(
                    f"{path} holds several variants of one model, "
                    f"{', '.join(file.name for file in found)}; keep one of them in a folder with"
                    " its config.json, and name that."
                )
            if found:
                return _with_parts(found[0])
    raise FileNotFoundError(
        f"{path} holds no weights: {', '.join(stems)}.safetensors or .bin are expected."
    )


def state_of(file: Path) -> Mapping[str, np.ndarray]:
    """The tensors of a file or an index, under the names that diffusers has since 0.17."""
    stored = open_weights(file)
    return Renamed(stored, {_current_name(key): key for key in stored})


def _with_parts(first: Path) -> list[Path]:
    return [first, *shard_files(first)] if first.suffix == ".json" else [first]


def _typed(default: Any, value: Any) -> Any:
    """An option in the type of its field: JSON knows no tuples, and may write a float as 1."""
    if isinstance(default, float) and isinstance(value, int):
        return float(value)
    return tuple(value) if isinstance(value, list) else value


def _current_name(key: str) -> str:
    if key.count(".") < 3:
        return key
    *modules, layer, word = key.split(".")
    if modules[-2] != "attentions" or layer not in _OLD_ATTENTION:
        return key
    return ".".join([*modules, _OLD_ATTENTION[layer], word])
