"""
Local rotation (local-rotation)
===============================

Every block of 2 x 2 pixels of the latent is turned by the coefficient's number of quarter turns.

With one model the fine structure of the stroke breaks up while its course and colour stay. In
DDIB there is hardly any harm: the finest structure of a latent is not what decides.
"""

from support import show

show("local-rotation", (0, 1, 2, 3))
