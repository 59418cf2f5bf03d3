"""Models of the Hugging Face hub, by way of its own client (extra `hub`)."""

from pathlib import Path

from ddib_jax.pretrained.shapes import first_line

PREFIX = "hf:"
WEIGHTS = (
    "diffusion_pytorch_model.safetensors",
    "diffusion_pytorch_model.bin",
    "diffusion_pytorch_model-*-of-*.safetensors",
    "diffusion_pytorch_model.fp16.safetensors",
)
"""Patterns of the files of weights, in the order in which they are preferred."""


def fetch(source: str) -> Path:
    """The local folder of `hf:owner/name`, or of `hf:owner/name@revision`.

    It is fetched once, resumed where it broke off, and kept in the hub's cache; weights in
    safetensors are taken where there are any, otherwise `.bin`. With HF_HUB_OFFLINE=1 nothing is
    fetched. Raises ImportError without the client, ValueError for what is no name of the hub,
    FileNotFoundError for a repository without weights, and OSError where it cannot be had.
    """
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HFValidationError
    except ImportError as error:
        raise ImportError(
            "Models of the Hugging Face hub need its client: install ddib_jax[hub], or give a local"
            " folder."
        ) from error
    name, _, revision = source.removeprefix(PREFIX).partition("@")
    try:
        for pattern in WEIGHTS:
            files = ["*.json", f"*{pattern}"]
            folder = Path(snapshot_download(name, revision=revision or None, allow_patterns=files))
            if any(folder.rglob(pattern)):
                return folder
    except HFValidationError as error:
        raise ValueError(f"'{source}' is no name of the hub: expected hf:owner/name.") from error
    except Exception as error:
        # The client passes on whatever its transport raises; there is no common base class.
        raise OSError(
            f"'{source}' cannot be had from the hub ({first_line(error)}); is its name right, and"
            " is there a network?"
        ) from error
    raise FileNotFoundError(f"'{source}' holds no {' or '.join(WEIGHTS)}.")
