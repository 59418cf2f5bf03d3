"""
Towards another image on the sphere (slerp-other)
=================================================

The latent is interpolated on the sphere towards the latent of another image, here the five before
it.

The other five's colour and shape take over at about one half.
"""

from support import show

show("slerp-other", (0.3, 0.5, 0.7, 0.9))
