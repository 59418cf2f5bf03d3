"""
Magnitudes of noise (magnitude-of-noise)
========================================

The latent keeps its Fourier phases, and its magnitudes go over to those of noise.

With one model most digits change at a full exchange and the hue drifts. Magnitudes matter
less than phases.
"""

from support import show

show("magnitude-of-noise", (0.25, 0.5, 1))
