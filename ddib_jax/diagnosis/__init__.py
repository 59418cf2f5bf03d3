"""Measurements of `ddib diagnose`: checks of a model, round trips by solver, and their cost."""

from ddib_jax.diagnosis.checks import Check, latent_checks, noisy_latents, sample_checks
from ddib_jax.diagnosis.inversion import (
    PaddedGrid,
    RoundTrip,
    Timed,
    codec_error,
    memory,
    recommended,
    round_trips,
    steps_within,
)

__all__ = [
    "Check",
    "PaddedGrid",
    "RoundTrip",
    "Timed",
    "codec_error",
    "latent_checks",
    "memory",
    "noisy_latents",
    "recommended",
    "round_trips",
    "sample_checks",
    "steps_within",
]
