"""
Recolour (recolour)
===================

Mean and deviation of every channel are moved to those of another image's latent, here the five
before it.

With one model the five stays and takes on part of the other image's hue. In DDIB the sevens go
part of the way too: the statistics are one part of the colour, not all of it.
"""

from support import show

show("recolour", (0.5, 1))
