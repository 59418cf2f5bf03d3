"""diffusers' schedulers: the noise schedule and the preconditioning that one stands for, and back.

What a scheduler says of sampling (clipping, thresholds, spacing of steps) is no part of the model
and is left aside: clipping cannot be inverted, and the grid is the bridge's.
"""

from pathlib import Path
from typing import Any

import numpy as np

from ddib_jax import preconditioning, schedules
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.preconditioning import Epsilon, Flow, Sample, Velocity
from ddib_jax.schedules import Discrete, RectifiedFlow
from ddib_jax.types import NoiseSchedule, Preconditioning

PREDICTIONS = {"epsilon": Epsilon, "v_prediction": Velocity, "sample": Sample}
"""prediction_type -> preconditioning."""
_STEPS = 1000
_LEAST = 2.0**-24
"""What is left of the data at the end of a table of zero terminal SNR, as in diffusers' Euler."""


def read_scheduler(path: Path, config: dict[str, Any]) -> tuple[NoiseSchedule, Preconditioning]:
    """The noise schedule and the preconditioning of a scheduler's configuration.

    path: the folder, for errors. Raises ValueError for what is not supported.
    """
    kind, prediction = config.get("_class_name", ""), config.get("prediction_type", "epsilon")
    if config.get("predict_epsilon") is False:  # what diffusers before 0.9 called it
        prediction = "sample"
    if config.get("timestep_type") == "continuous":
        raise ValueError(f"{path}: timestep_type = 'continuous' is not supported; discrete is.")
    if kind.startswith("EDM"):
        if prediction != "epsilon":
            raise ValueError(
                f"{path}: prediction_type = {prediction!r} of {kind} is not supported; epsilon is."
            )
        schedule = schedules.EDM(
            float(config.get("sigma_min", 0.002)), float(config.get("sigma_max", 80.0))
        )
        return schedule, preconditioning.EDM(float(config.get("sigma_data", 0.5)))
    if kind.startswith("FlowMatch") or prediction == "flow_prediction":
        if config.get("invert_sigmas"):
            raise ValueError(f"{path}: invert_sigmas of {kind} is not supported.")
        return RectifiedFlow(float(config.get("num_train_timesteps", _STEPS))), Flow()
    if prediction not in PREDICTIONS:
        raise ValueError(
            f"{path}: prediction_type = {prediction!r} is not supported; known are"
            f" {', '.join(PREDICTIONS)}."
        )
    if config.get("rescale_betas_zero_snr") and prediction == "epsilon":
        raise ValueError(
            f"{path}: rescale_betas_zero_snr with prediction_type = 'epsilon' says nothing of the"
            " image where there is nothing but noise; v_prediction or sample are expected."
        )
    if "beta_schedule" not in config and config.get("trained_betas") is None:
        raise ValueError(
            f"{path}: the scheduler {kind or 'without a name'} gives no betas; it is not supported."
        )
    schedule = _schedule(path, config)
    if config.get("rescale_betas_zero_snr"):
        schedule = _with_zero_terminal_snr(schedule)
    return schedule, PREDICTIONS[prediction]()


def _schedule(path: Path, config: dict[str, Any]) -> Discrete:
    if config.get("trained_betas") is not None:
        return Discrete.from_betas(config["trained_betas"])
    steps, name = int(config.get("num_train_timesteps", _STEPS)), config["beta_schedule"]
    first, last = float(config.get("beta_start", 1e-4)), float(config.get("beta_end", 0.02))
    if name == "squaredcos_cap_v2":
        return Discrete.cosine(steps)
    betas = {
        "linear": lambda: np.linspace(first, last, steps),
        "scaled_linear": lambda: np.linspace(first**0.5, last**0.5, steps) ** 2,
        "sigmoid": lambda: (last - first) / (1 + np.exp(-np.linspace(-6, 6, steps))) + first,
    }
    if name not in betas:
        names = ", ".join([*betas, "squaredcos_cap_v2"])
        raise ValueError(f"{path}: beta_schedule = {name!r} is not supported; known are {names}.")
    return Discrete.from_betas(betas[name]())


def _with_zero_terminal_snr(schedule: Discrete) -> Discrete:
    """The table shifted and scaled to end in nothing but noise (Lin et al. 2024, algorithm 1)."""
    root = np.sqrt(np.asarray(schedule.alphas_cumprod))
    rescaled = ((root - root[-1]) * root[0] / (root[0] - root[-1])) ** 2
    return Discrete((*rescaled[:-1].tolist(), _LEAST))


def scheduler_config(model: DiffusionModel) -> dict[str, Any]:
    """The configuration of a scheduler that stands for the model's schedule and preconditioning.

    Raises ValueError where diffusers has none.
    """
    schedule, precondition = model.schedule, model.precondition
    if isinstance(schedule, schedules.EDM) and isinstance(precondition, preconditioning.EDM):
        return {
            "_class_name": "EDMEulerScheduler",
            "prediction_type": "epsilon",
            "sigma_min": schedule.sigma_min,
            "sigma_max": schedule.sigma_max,
            "sigma_data": precondition.sigma_data,
        }
    if isinstance(schedule, RectifiedFlow) and isinstance(precondition, Flow):
        if schedule.time_scale != _STEPS:
            raise ValueError(
                f"diffusers' rectified flows end at time {_STEPS}; this one at"
                f" {schedule.time_scale:g}."
            )
        return {
            "_class_name": "FlowMatchEulerDiscreteScheduler",
            "num_train_timesteps": _STEPS,
        }
    name = next((name for name, kind in PREDICTIONS.items() if type(precondition) is kind), None)
    if not isinstance(schedule, Discrete) or name is None:
        raise ValueError(
            "diffusers has models of discrete time that predict epsilon, v or the clean image,"
            " those of EDM and rectified flows; this is another one."
        )
    alpha_bar = np.asarray([1.0, *schedule.alphas_cumprod])
    betas = {"beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02}
    if schedule != Discrete.linear(1000):
        betas = {"trained_betas": (1 - alpha_bar[1:] / alpha_bar[:-1]).tolist()}
    return {
        "_class_name": "DDPMScheduler",
        "num_train_timesteps": len(alpha_bar) - 1,
        "prediction_type": name,
        "clip_sample": False,  # clipping is diffusers' default, and cannot be inverted
        **betas,
    }
