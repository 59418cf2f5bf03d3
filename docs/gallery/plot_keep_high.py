"""
Keep high frequencies (keep-high)
=================================

Spatial frequencies from the coefficient up are kept, the rest comes from fixed noise.

Without the mean and the lowest frequencies the colour is lost at once, long before the digit.
"""

from support import show

show("keep-high", (0.0625, 0.125, 0.25, 0.5))
