"""Training, whatever the network and the loss: a pure step, a loop, checkpoints and a log."""

from ddib_jax.training.callbacks import Callback, Moment
from ddib_jax.training.checkpoint import Checkpoints
from ddib_jax.training.log import TrainingLog, read_log
from ddib_jax.training.loop import Stopped, fit
from ddib_jax.training.resumable import Intervals, fit_resumably
from ddib_jax.training.state import TrainState, adamw
from ddib_jax.training.step import accumulated, gradients, train_step, train_steps

__all__ = [
    "Callback",
    "Checkpoints",
    "Intervals",
    "Moment",
    "Stopped",
    "TrainState",
    "TrainingLog",
    "accumulated",
    "adamw",
    "fit",
    "fit_resumably",
    "gradients",
    "read_log",
    "train_step",
    "train_steps",
]
