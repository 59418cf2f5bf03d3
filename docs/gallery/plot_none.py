"""
None (none)
===========

The latent as it is, whatever the coefficient.

DDIB gives sevens in the colour of their fives. One model alone gives the fives back: an accurate
solver undoes its own encoding, so a latent has to be changed before one model translates.
"""

from support import show

show("none", (0,))
