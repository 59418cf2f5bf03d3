"""Models of the Hugging Face hub, by way of its own client (extra `hub`)."""

from pathlib import Path

from ddib_jax.pretrained.diffusers_pipeline import components_of, is_pipeline
from ddib_jax.pretrained.shapes import first_line

PREFIX = "hf:"
WEIGHTS = (
    "diffusion_pytorch_model.safetensors",
    "diffusion_pytorch_model.bin",
    "diffusion_pytorch_model-*-of-*.safetensors",
    "diffusion_pytorch_model.fp16.safetensors",
)
"""Patterns of the files of weights, in the order in which they are preferred."""
TEXT_WEIGHTS = (
    "model.safetensors",
    "pytorch_model.bin",
    "model-*-of-*.safetensors",
    "model.fp16.safetensors",
)
"""The same of text encoders."""
_DESCRIPTIONS = ["*.json", "*merges.txt"]


def fetch(source: str) -> Path:
    """The local folder of `hf:owner/name`, or of `hf:owner/name@revision`.

    It is fetched once, resumed where it broke off, and kept in the hub's cache; weights in
    safetensors are taken where there are any, otherwise `.bin`, and of a pipeline those of the
    components that are read. With HF_HUB_OFFLINE=1 nothing is fetched. Raises ImportError without
    the client, ValueError for what is no name of the hub and for a pipeline that is not read,
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

    def fetched(*patterns: str) -> Path:
        options = {"revision": revision or None, "allow_patterns": [*_DESCRIPTIONS, *patterns]}
        try:
            return Path(snapshot_download(name, **options))
        except HFValidationError as error:
            raise ValueError(
                f"'{source}' is no name of the hub: expected hf:owner/name."
            ) from error
        except Exception as error:
            # The client passes on whatever its transport raises; there is no common base class.
            raise OSError(
                f"'{source}' cannot be had from the hub ({first_line(error)}); is its name right,"
                " and is there a network?"
            ) from error

    folder = fetched()
    missing = _parts(folder)
    for rank in range(len(WEIGHTS)):
        # asked for even where it is there, for the client goes on where it broke off
        folder = fetched(*(f"{part}{names[rank]}" for part, names in missing.items()))
        missing = {
            part: names
            for part, names in missing.items()
            if not any(folder.glob(f"{part.replace('*', '**/')}{names[rank]}"))
        }
        if not missing:
            return folder
    lacking = " and ".join(f"{part}{names[0]}" for part, names in missing.items())
    raise FileNotFoundError(f"'{source}' holds no {lacking.replace('*', '')}, nor a .bin of it.")


def _parts(folder: Path) -> dict[str, tuple[str, ...]]:
    """Where weights are expected, the beginning of a pattern, and their names by preference."""
    if not is_pipeline(folder):
        return {"*": WEIGHTS}
    return {
        f"{name}/": TEXT_WEIGHTS if name.startswith("text_encoder") else WEIGHTS
        for name in components_of(folder)
        if name.startswith(("text_encoder", "unet", "vae", "vqvae"))
    }
