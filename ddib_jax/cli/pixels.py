"""What a model's numbers mean in the files that are read and written."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ddib_jax.cli.models import Models
from ddib_jax.data.declared import Outputs
from ddib_jax.data.input_images import InputImages
from ddib_jax.data.results import Results
from ddib_jax.data.scale import Scale
from ddib_jax.pretrained import Checkpoint


def scale_of(checkpoint: Checkpoint, *, made: bool = False) -> Scale | None:
    """The scale of a model's images; None for 8-bit pictures.

    made: of those that it makes, which are not always like those that a generator is given.

    It has the model's number of channels, or one, where these are grey, repeated. Raises ValueError
    where `model.json` has a damaged one, or one of other channels.
    """
    where = str(checkpoint.path / "model.json")
    given = checkpoint.facts.get("pixels")
    scale = Scale.from_json(checkpoint.facts.get("made_pixels", given) if made else given, where)
    channels = None if scale is None else checkpoint.facts["image_shape"][-1]
    if scale is not None and scale.channels not in (1, channels):
        raise ValueError(
            f"{where} gives a range for {scale.channels} channels, and its images have {channels}."
        )
    return scale


def source_scale(models: Models) -> Scale | None:
    """The scale of the images that a translation is given: the source's, or the only model's."""
    return _scale_of(models, models.source or models.target or models.model)


def target_scale(models: Models) -> Scale | None:
    """The scale of the images that a translation makes."""
    return _scale_of(models, models.target or models.model or models.source, made=True)


def open_results(
    out: Path,
    images: InputImages,
    models: Models,
    shape: tuple[int, ...],
    *,
    part: int = 0,
) -> Results:
    """The results of images: in the target's units, or in those of the images where it has none.

    Of 8-bit pictures by models of these, PNGs of 8 bits. shape: of a result, [h w c].
    """
    channels = shape[-1]
    target = target_scale(models)
    if target is None and images.scale is not None and _is_of_bytes(models, images):
        target = _bytes(channels)
    scale = target or _of_channels(images.scale, channels)
    if scale is None:
        return Results(out, images.names, images.changed, part=part)
    return Results(
        out,
        images.names,
        images.changed,
        part=part,
        files=images.outputs(scale),
        scale=scale,
    )


def decoded_results(
    out: Path,
    names: Sequence[str],
    changed: Mapping[str, str],
    *,
    shape: tuple[int, ...],
    kept: tuple[Mapping[str, Any], Path],
    scale: Scale | None,
) -> Results:
    """The results of latents or pairs, to files as those that they are of, where these are known.

    shape: of an image, [h w c]. kept: what their file keeps besides, and the file. scale: the
    model's; without one results are in the units of the images that were encoded.
    """
    files, own = Outputs.from_arrays(kept[0], len(names), kept[1])
    scale = scale or _of_channels(own, shape[-1])
    if scale is not None and files is None:
        files = Outputs.plain(names, (*shape[:2], scale.channels), scale)
    return Results(out, names, changed, files=files, scale=scale)


def _of_channels(scale: Scale | None, channels: int) -> Scale | None:
    """The scale, or that of bytes for another number of channels than it is of."""
    return scale if scale is None or scale.channels == channels else _bytes(channels)


def _bytes(channels: int) -> Scale:
    return Scale("uint8", (0.0,) * channels, (255.0,) * channels)


def _is_of_bytes(models: Models, images: InputImages) -> bool:
    """Whether the target knows 8-bit pictures and the images are in the source model's units."""
    return source_scale(models) == images.scale


def _scale_of(models: Models, name: str | None, *, made: bool = False) -> Scale | None:
    return None if name is None else scale_of(models.opened(name), made=made)
