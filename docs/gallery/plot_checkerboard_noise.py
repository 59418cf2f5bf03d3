"""
Checkerboard of noise (checkerboard-noise)
==========================================

Every second cell of a checkerboard is replaced by fixed noise; the coefficient is the width of a
cell in pixels.

With one model many fives become sevens and most keep their colour: the noise removes structure
and leaves the low frequencies. In DDIB much of the hue is lost, because noise of deviation 1
outweighs the smaller latent.
"""

from support import show

show("checkerboard-noise", (1, 2, 4, 8))
