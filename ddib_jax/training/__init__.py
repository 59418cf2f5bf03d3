"""Training: a pure step, a loop over it, checkpoints and a log; it knows neither networks nor diffusion."""

from ddib_jax.training.checkpoint import Checkpoints
from ddib_jax.training.log import TrainingLog, read_log
from ddib_jax.training.loop import fit
from ddib_jax.training.state import TrainState, adamw
from ddib_jax.training.step import gradients, train_step

__all__ = ["Checkpoints", "TrainState", "TrainingLog", "adamw", "fit", "gradients", "read_log", "train_step"]
