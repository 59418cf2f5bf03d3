"""Figures of translations: what a classifier says of them, and every metric that can be measured.

`evaluate` measures named samples, `compare` two sets of pictures, one pair at a time.
"""

from ddib_jax.evaluation.comparison import Comparison, compare, network_features
from ddib_jax.evaluation.perceptual import Perceptual
from ddib_jax.evaluation.rows import Classifier, classify, evaluate, metric_row

__all__ = [
    "Classifier",
    "Comparison",
    "Perceptual",
    "classify",
    "compare",
    "evaluate",
    "metric_row",
    "network_features",
]
