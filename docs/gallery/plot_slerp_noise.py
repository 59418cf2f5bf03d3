"""
Towards noise on the sphere (slerp-noise)
=========================================

The latent is interpolated on the sphere towards fixed noise of its own length.

With one model the digit gives way between 0.5 and 0.9 and takes the colour with it. In DDIB 0.3
gives whole sevens at little loss of hue; from 0.5 on the colour of the noise comes in.
"""

from support import show

show("slerp-noise", (0.3, 0.5, 0.7, 0.9))
