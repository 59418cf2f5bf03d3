"""Whole pipelines of Stable Diffusion, tiny and of random weights, against diffusers'."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddib_jax import pretrained
from ddib_jax.bridge import Bridge
from ddib_jax.guidance import ClassifierFreeGuidance
from ddib_jax.solvers import EULER

pipelines = pytest.importorskip("tests.pretrained.pipelines")
torch = pipelines.torch
PROMPT, NEGATIVE = "a photo of an astronaut riding a horse!", "a CAFÉ"
MAKERS = {
    "SD, epsilon": lambda path: pipelines.stable_diffusion(path),
    "SD, v": lambda path: pipelines.stable_diffusion(path, prediction="v_prediction", pad="!"),
    "SDXL": pipelines.stable_diffusion_xl,
}


@pytest.fixture(scope="module", params=MAKERS)
def saved(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("pipeline")
    twin = MAKERS[request.param](path)
    twin.set_progress_bar_config(disable=True)
    twin.save_pretrained(path / "saved")
    return twin, pretrained.open(path / "saved")


def ours(checkpoint, noise, *, steps, negative=None, solver=EULER):
    """As the pipeline samples: DDIM from the same latent, guided by 7.5, images in [-1, 1]."""
    conditioner = checkpoint.conditioner
    if negative is not None:
        conditioner = conditioner.away_from(negative)
    cond = jax.tree.map(lambda leaf: leaf[0], conditioner([PROMPT]))
    guidance = ClassifierFreeGuidance(conditioner.null, jnp.asarray(7.5))
    model = checkpoint.model().given(cond).guided(guidance)
    bridge = Bridge.over(model, steps=steps, grid="ddim", solver=solver)
    data = bridge.solve(jnp.asarray(noise) * bridge.scale, rising=False).y
    # diffusers decodes x_t of the table's first time, and not x
    return np.asarray(model.to_image(data / jnp.sqrt(1 + bridge.sigmas[0] ** 2)))


def theirs(twin, noise, *, steps, negative=None):
    latents = torch.from_numpy(np.ascontiguousarray(noise.transpose(0, 3, 1, 2)))
    image = twin(
        PROMPT,
        negative_prompt=negative,
        num_inference_steps=steps,
        guidance_scale=7.5,
        latents=latents,
        height=2 * noise.shape[1],
        width=2 * noise.shape[2],
        output_type="pt",
    ).images
    return 2 * image.numpy().transpose(0, 2, 3, 1) - 1


@pytest.mark.parametrize(("steps", "negative"), [(5, None), (5, NEGATIVE), (25, None)])
def test_samples_agree(saved, steps, negative):
    twin, checkpoint = saved
    noise = pipelines.noise(1, *checkpoint.model().data_shape)
    expected = theirs(twin, noise, steps=steps, negative=negative)
    found = np.clip(ours(checkpoint, noise, steps=steps, negative=negative), -1, 1)
    assert np.std(expected) > 0.1
    assert np.abs(expected).mean() < 0.9  # not clipped to black and white
    assert np.abs(found - expected).max() < 1e-3


def test_conditions_agree(saved):
    twin, checkpoint = saved
    prompts = [PROMPT, "", "red 7 🎨"]
    options = {"num_images_per_prompt": 1, "do_classifier_free_guidance": True}
    with torch.no_grad():
        expected = twin.encode_prompt(prompts, device="cpu", **options)
    told = checkpoint.conditioner(prompts)
    null = checkpoint.conditioner.null
    np.testing.assert_allclose(told["text"], expected[0].numpy(), atol=2e-5)
    np.testing.assert_allclose(null["text"], expected[1].numpy()[0], atol=2e-5)
    if "pooled" in told:
        np.testing.assert_allclose(told["pooled"], expected[2].numpy(), atol=2e-5)
        assert not null["pooled"].any()
        np.testing.assert_array_equal(null["time_ids"], [32, 32, 0, 0, 32, 32])


def test_another_size(saved):
    twin, checkpoint = saved
    other = pretrained.open(checkpoint.path, image_size=(48, 24))
    assert other.model().image_shape == (48, 24, 3)
    noise = pipelines.noise(1, *other.model().data_shape)
    expected = theirs(twin, noise, steps=2)
    assert np.abs(np.clip(ours(other, noise, steps=2), -1, 1) - expected).max() < 1e-3
    with pytest.raises(
        ValueError, match=r"48 x 26 do not go .* height and width are multiples of 4"
    ):
        pretrained.open(checkpoint.path, image_size=(48, 26)).model()


def test_unconditional_latents_agree(tmp_path):
    """An `LDMPipeline`: no text, and codes out of a codebook."""
    unet, vae = pipelines.UNET, pipelines.VAE
    torch.manual_seed(0)
    twin = pipelines.diffusers.LDMPipeline(
        vqvae=pipelines.randomised(
            pipelines.diffusers.VQModel(**vae, num_vq_embeddings=32, latent_channels=3)
        ),
        unet=pipelines.randomised(
            pipelines.diffusers.UNet2DModel(
                **{name: unet[name] for name in ("sample_size", "block_out_channels")},
                in_channels=3,
                out_channels=3,
                layers_per_block=1,
                norm_num_groups=8,
                down_block_types=("DownBlock2D", "AttnDownBlock2D"),
                up_block_types=("AttnUpBlock2D", "UpBlock2D"),
            )
        ),
        scheduler=pipelines.diffusers.DDIMScheduler(**pipelines.STABLE),
    )
    twin.set_progress_bar_config(disable=True)
    twin.save_pretrained(tmp_path / "saved")
    checkpoint = pretrained.open(tmp_path / "saved")
    assert checkpoint.conditioner is None
    model = checkpoint.model()
    assert (model.image_shape, model.data_shape) == ((32, 32, 3), (16, 16, 3))
    seeded = lambda: torch.Generator().manual_seed(0)
    noise = torch.randn((1, 3, 16, 16), generator=seeded()).numpy().transpose(0, 2, 3, 1)
    images = twin(generator=seeded(), num_inference_steps=4, output_type="np").images
    bridge = Bridge.over(model, steps=4, grid="ddim", solver=EULER)
    data = bridge.solve(jnp.asarray(noise) * bridge.scale, rising=False).y
    found = model.to_image(data / jnp.sqrt(1 + bridge.sigmas[0] ** 2))
    assert np.abs(np.clip(found, -1, 1) - (2 * images - 1)).max() < 1e-3
