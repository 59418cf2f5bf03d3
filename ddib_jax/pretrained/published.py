"""Networks in their published sizes, without weights: what plans and timings are made for."""

from ddib_jax.nets import UNet, UNet2DCondition
from ddib_jax.pretrained.single_file import FAMILIES

_ADM = {
    "num_head_channels": 64,
    "resblock_updown": True,
    "learn_sigma": True,
    "attention_resolutions": (32, 16, 8),
}


def _latent(family: str) -> tuple[int, UNet2DCondition]:
    return FAMILIES[family].sample_size, FAMILIES[family].unet


PUBLISHED: dict[str, tuple[int, UNet | UNet2DCondition]] = {
    "adm-64": (
        64,
        UNet(model_channels=192, channel_mult=(1, 2, 3, 4), num_res_blocks=3, dropout=0.1, **_ADM),
    ),
    "adm-256": (
        256,
        UNet(model_channels=256, channel_mult=(1, 1, 2, 2, 4, 4), num_res_blocks=2, **_ADM),
    ),
    "sd15": _latent("Stable Diffusion 1"),
    "sdxl": _latent("Stable Diffusion XL"),
}
"""Name -> side of the data and network: of Dhariwal and Nichol (2021, table 4), without classes,
and of Stable Diffusion 1.5 and XL, whose data are codes of images eight times as large.
"""
