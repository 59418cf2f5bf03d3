"""Trainings: images in, models out, from options that Python and the command line share."""

from ddib_jax.trainer.batches import Batches
from ddib_jax.trainer.classifier import ClassifierTraining, train_classifier
from ddib_jax.trainer.domain import Reference, data_deviation, statistics
from ddib_jax.trainer.place import check_place, note_data
from ddib_jax.trainer.preview import preview
from ddib_jax.trainer.recipe import Recipe
from ddib_jax.trainer.train import Training, train

__all__ = [
    "Batches",
    "ClassifierTraining",
    "Recipe",
    "Reference",
    "Training",
    "check_place",
    "data_deviation",
    "note_data",
    "preview",
    "statistics",
    "train",
    "train_classifier",
]
