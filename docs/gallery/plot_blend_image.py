"""
Blend with the image (blend-image)
==================================

The latent becomes (1 - coefficient) times itself plus coefficient times the source image.

The image is no latent: it darkens what is decoded and pushes the hue to red, green or blue, until
only fragments are left.
"""

from support import show

show("blend-image", (0.3, 0.5, 0.7, 0.9))
