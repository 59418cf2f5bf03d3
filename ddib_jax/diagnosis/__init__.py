"""Measurements of `ddib diagnose`: checks of a model, round trips by solver, and their cost.

Also what `ddib translate`, `sweep` and `sample` keep and measure of their own work for its page.
"""

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
from ddib_jax.diagnosis.memorised import Nearest, nearest, nearest_known
from ddib_jax.diagnosis.passages import Passage, evaluations, filmed, passage, sampling
from ddib_jax.diagnosis.recorder import Recorder
from ddib_jax.diagnosis.records import sample_record, sweep_record, translation_record

__all__ = [
    "Check",
    "Nearest",
    "PaddedGrid",
    "Passage",
    "Recorder",
    "RoundTrip",
    "Timed",
    "codec_error",
    "evaluations",
    "filmed",
    "latent_checks",
    "memory",
    "nearest",
    "nearest_known",
    "noisy_latents",
    "passage",
    "recommended",
    "round_trips",
    "sample_checks",
    "sample_record",
    "sampling",
    "steps_within",
    "sweep_record",
    "translation_record",
]
