"""
Phases of noise (phase-of-noise)
================================

The latent keeps its Fourier magnitudes, and its phases are turned towards those of noise.

Structure is in the phase, and so is colour, for the phase of the mean is its sign: what is
decoded has the colours of the noise.
"""

from support import show

show("phase-of-noise", (0.3, 0.5, 0.7, 0.9))
