"""
Keep low frequencies (keep-low)
===============================

Spatial frequencies up to the coefficient are kept (0: the mean alone; 1: all), the rest comes
from fixed noise of the latent's mean square.

With the lowest frequencies kept the hue is nearly right and the digit becomes a seven, in both
ways: the lowest frequencies of the latent are its colour.
"""

from support import show

show("keep-low", (0, 0.0625, 0.125, 0.5))
