"""
Rotate (rotate)
===============

The latent is turned about its centre by that many degrees, by three shears in Fourier space, so
that white noise stays white.

With one model 5 and 15 degrees turn the five itself; from 45 on the decoder reads strokes of its
own. In DDIB 15 degrees turn the seven, and more is mended into another seven.
"""

from support import show

show("rotate", (5, 15, 45, 90))
