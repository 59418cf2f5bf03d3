"""Methods for pictures of other sizes than their models'."""

from typing import Any, TypeVar

import jax

from ddib_jax.bridge.couplings import Cosines
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.tiling import OVERLAP

Tree = TypeVar("Tree")


def tiled(tree: Tree, height: int, width: int, *, overlap: float = OVERLAP) -> Tree:
    """A bridge, a method or any tree of models, each for pictures of another size in windows.

    As `DiffusionModel.tiled` makes them, whose errors it raises; a model of that size stays. A
    coupling of frequencies keeps those of the same wavelengths in pixels.
    """

    def changed(node: Any) -> Any:
        if isinstance(node, DiffusionModel):
            return node.tiled(height, width, overlap=overlap)
        return node.at_size(height, width) if isinstance(node, Cosines) else node

    return jax.tree.map(
        changed, tree, is_leaf=lambda node: isinstance(node, DiffusionModel | Cosines)
    )
