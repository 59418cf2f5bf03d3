"""
Blur the latent (blur)
======================

The latent is blurred by a Gaussian of that many pixels.

In DDIB one pixel gives whole, clean sevens in the colour of the five: what is lost is what the
model of fives puts where it is unsure. With one model half a pixel changes little, and two
pixels give smooth, bold digits.
"""

from support import show

show("blur", (0.25, 0.5, 1, 2))
