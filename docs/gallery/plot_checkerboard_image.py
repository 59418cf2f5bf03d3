"""
Checkerboard of the image (checkerboard-image)
==============================================

Every second cell of a checkerboard is taken from the source image instead of the latent; the
coefficient is the width of a cell in pixels.

With one model the stroke breaks into a pattern of the cells' size and darkens, and the five can
still be read. In DDIB the more is left of the sevens, the larger the cells.
"""

from support import show

show("checkerboard-image", (1, 2, 4, 8))
