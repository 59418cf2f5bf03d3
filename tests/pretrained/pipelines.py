"""Tiny pipelines of Stable Diffusion with random weights, as diffusers saves them."""

import numpy as np
import pytest

from tests.test_text import small_merges, write

torch = pytest.importorskip("torch", reason="torch is not installed (extra 'parity')")
diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed (extra 'parity')")
transformers = pytest.importorskip(
    "transformers", reason="transformers is not installed (extra 'parity')"
)

STABLE = {
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "steps_offset": 1,
    "clip_sample": False,
    "set_alpha_to_one": False,
}
VOCABULARY = 512 + len(small_merges()) + 2
UNET = {
    "sample_size": 16,
    "block_out_channels": (16, 24),
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "attention_head_dim": 4,
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
}
XL_UNET = UNET | {
    "attention_head_dim": (2, 4),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    "use_linear_projection": True,
    "transformer_layers_per_block": (1, 2),
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 8,
    "projection_class_embeddings_input_dim": 48 + 20,
}
VAE = {
    "block_out_channels": (8, 16),
    "norm_num_groups": 4,
    "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
    "layers_per_block": 1,
}


def randomised(module):
    """The module with no parameter left at zero or one."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return module.eval()


def text_encoder(kind="CLIPTextModel", **options):
    config = transformers.CLIPTextConfig(
        **{
            "vocab_size": VOCABULARY,
            "hidden_size": 16,
            "intermediate_size": 24,
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
            "bos_token_id": VOCABULARY - 2,
            "eos_token_id": VOCABULARY - 1,
            **options,
        }
    )
    return randomised(getattr(transformers, kind)(config))


def tokenizer(folder, *, pad):
    return transformers.CLIPTokenizer.from_pretrained(write(folder, small_merges(), pad=pad))


def stable_diffusion(tmp_path, *, prediction="epsilon", pad="<|endoftext|>"):
    """A `StableDiffusionPipeline` of images of 32 x 32."""
    torch.manual_seed(0)
    return diffusers.StableDiffusionPipeline(
        unet=randomised(diffusers.UNet2DConditionModel(**UNET, cross_attention_dim=16)),
        vae=randomised(diffusers.AutoencoderKL(**VAE)),
        scheduler=diffusers.DDIMScheduler(**STABLE, prediction_type=prediction),
        text_encoder=text_encoder(),
        tokenizer=tokenizer(tmp_path / "words", pad=pad),
        safety_checker=None,
        feature_extractor=None,
        image_encoder=None,
        requires_safety_checker=False,
    )


def stable_diffusion_2(tmp_path):
    """A `StableDiffusionPipeline` as Stable Diffusion 2 is one: linear projections, v, gelu."""
    pipeline = stable_diffusion(tmp_path, prediction="v_prediction", pad="!")
    options = UNET | {"attention_head_dim": (2, 3), "use_linear_projection": True}
    network = diffusers.UNet2DConditionModel(**options, cross_attention_dim=16)
    pipeline.register_modules(
        unet=randomised(network), text_encoder=text_encoder(hidden_act="gelu")
    )
    return pipeline


def stable_diffusion_xl(tmp_path):
    """A `StableDiffusionXLPipeline` of images of 32 x 32."""
    torch.manual_seed(0)
    return diffusers.StableDiffusionXLPipeline(
        unet=randomised(diffusers.UNet2DConditionModel(**XL_UNET, cross_attention_dim=36)),
        vae=randomised(diffusers.AutoencoderKL(**VAE, scaling_factor=0.13025)),
        scheduler=diffusers.DDIMScheduler(**STABLE),
        text_encoder=text_encoder(),
        text_encoder_2=text_encoder(
            "CLIPTextModelWithProjection", hidden_size=20, projection_dim=20, hidden_act="gelu"
        ),
        tokenizer=tokenizer(tmp_path / "words", pad="<|endoftext|>"),
        tokenizer_2=tokenizer(tmp_path / "words_2", pad="!"),
        add_watermarker=False,
    )


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)
