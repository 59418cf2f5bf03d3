"""Bridges between images and latents, a pair of them as a DDIB, and couplings of the two."""

from ddib_jax.bridge.bridge import GRID, SOLVER, STEPS, Auxiliary, Bridge
from ddib_jax.bridge.checks import (
    as_floats,
    check_finite,
    check_meeting,
    check_shape,
    check_solved,
    warn_of_guidance,
    warn_of_latents,
)
from ddib_jax.bridge.contrast import EitherContrast
from ddib_jax.bridge.couplings import COUPLINGS, Coupling, decode_coupled, parse_coupling
from ddib_jax.bridge.ddib import DDIB, fixed_noise
from ddib_jax.bridge.likelihood import log_likelihood
from ddib_jax.bridge.meeting import dropped, meet, meeting_noise, warn_of_meeting
from ddib_jax.bridge.switch import Switch, known_gaussian
from ddib_jax.bridge.tuned import FITTED, TunedGrid

__all__ = [
    "COUPLINGS",
    "DDIB",
    "FITTED",
    "GRID",
    "SOLVER",
    "STEPS",
    "Auxiliary",
    "Bridge",
    "Coupling",
    "EitherContrast",
    "Switch",
    "TunedGrid",
    "as_floats",
    "check_finite",
    "check_meeting",
    "check_shape",
    "check_solved",
    "decode_coupled",
    "dropped",
    "fixed_noise",
    "known_gaussian",
    "log_likelihood",
    "meet",
    "meeting_noise",
    "parse_coupling",
    "warn_of_guidance",
    "warn_of_latents",
    "warn_of_meeting",
]
