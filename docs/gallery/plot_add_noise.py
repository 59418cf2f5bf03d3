"""
Add noise (add-noise)
=====================

Fixed Gaussian noise times the coefficient is added to the latent.

With one model nothing changes up to 0.1; at 0.7 strokes break. In DDIB, 0.3 mends
frayed strokes at some cost of hue, and at 0.7 the colour goes.
"""

from support import show

show("add-noise", (0.01, 0.1, 0.3, 0.7))
