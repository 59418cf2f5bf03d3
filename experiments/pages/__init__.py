"""The pages of the studies, one file each; no jax, so that they can be made wherever a run is."""

from collections.abc import Mapping
from types import MappingProxyType

from ddib_jax.report.layouts import Layout
from pages import (
    coloured_mnist,
    compare_methods,
    inversion,
    perturbations,
    precision,
    synthetic_2d,
)

LAYOUTS: Mapping[str, Layout] = MappingProxyType(
    {
        "coloured_mnist": coloured_mnist.layout,
        "compare_methods": compare_methods.layout,
        "inversion": inversion.layout,
        "perturbations": perturbations.layout,
        "precision": precision.layout,
        "synthetic_2d": synthetic_2d.layout,
        "text_guided": compare_methods.layout,
    }
)
"""A study's name -> the layout of its page; a study without one is laid out plainly."""
