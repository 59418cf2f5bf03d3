"""
Gaussianise (gaussianise)
=========================

The histogram of every latent's values is made normal, their order kept.

A normal histogram does not make a normal latent: the background, which was nearly 0, is spread
out to noise of its own, colours shift, and speckles appear.
"""

from support import show

show("gaussianise", (0.5, 1))
