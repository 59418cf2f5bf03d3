"""Models of the Hugging Face hub, by way of its own client (extra `hub`)."""

from pathlib import Path

PREFIX = "hf:"
WEIGHTS = (
    "diffusion_pytorch_model.safetensors",
    "diffusion_pytorch_model.bin",
    "diffusion_pytorch_model-*-of-*.safetensors",
)


def fetch(source: str) -> Path:
    """The local folder of `hf:owner/name`, or of `hf:owner/name@revision`: fetched once, resumed
    where it broke off, kept in the hub's cache.

    Weights in safetensors are taken where there are any, otherwise `.bin`; with HF_HUB_OFFLINE=1
    nothing is fetched. Raises ImportError without the client, ValueError for what is no name of the
    hub, OSError where it cannot be had.
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
        for weights in WEIGHTS:
            folder = Path(
                snapshot_download(
                    name, revision=revision or None, allow_patterns=["*.json", f"*{weights}"]
                )
            )
            if any(folder.rglob(weights)):
                return folder
    except HFValidationError as error:
        raise ValueError(f"'{source}' is no name of the hub: expected hf:owner/name.") from error
    except Exception as error:  # whatever the transport of the client raises
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise OSError(
            f"'{source}' cannot be had from the hub ({reason}); is its name right, and is there a"
            " network?"
        ) from error
    raise FileNotFoundError(f"'{source}' holds no {' or '.join(WEIGHTS)}.")
