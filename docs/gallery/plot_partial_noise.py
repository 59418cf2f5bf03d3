"""
Meet at a lower noise level (partial-noise)
===========================================

The bridges meet at the noise level sigma that the coefficient states, not at the end of the grid.

Encoding and decoding by one model is the identity wherever it turns round. In DDIB the five comes
back with flecks on it up to sigma 1, begins to break at 2, and is a seven at 5; beyond little
changes.
"""

from support import show

show("partial-noise", (1, 2, 5, 20))
