"""Bridges between images and latents, a pair of them as a DDIB, and batched translation."""

from ddib_jax.bridge.batched import decode, decode_tied, encode, sample, translate
from ddib_jax.bridge.bridge import GRID, SOLVER, STEPS, Bridge
from ddib_jax.bridge.checks import check_finite, check_meeting, check_shape, warn_of_guidance
from ddib_jax.bridge.ddib import DDIB, fixed_noise, neighbour
from ddib_jax.bridge.likelihood import log_likelihood
from ddib_jax.bridge.tie import Tie

__all__ = [
    "DDIB",
    "GRID",
    "SOLVER",
    "STEPS",
    "Bridge",
    "Tie",
    "check_finite",
    "check_meeting",
    "check_shape",
    "decode",
    "decode_tied",
    "encode",
    "fixed_noise",
    "log_likelihood",
    "neighbour",
    "sample",
    "translate",
    "warn_of_guidance",
]
