"""
Normalise (normalise)
=====================

Every latent is moved to mean 0 and scaled to the standard deviation that the coefficient states.

With one model the fives come back in their colour at every scale: small factors darken and thin
the stroke, large ones thicken it. The latents of fives have a smaller deviation than 1, so that
normalising them makes the sevens' strokes blot and break.
"""

from support import show

show("normalise", (0.5, 1, 1.5, 2))
