"""
Match the channels (match-channels)
===================================

Mean and deviation of every channel are moved to those that the latent had when it was encoded. It
follows another perturbation; here only the mean of the latent is kept, the rest is noise, and the
coefficient says how far the statistics are given back.

With one model nearly every five becomes a seven that looks drawn, in the hue of its source: the
statistics of three channels are most of what colour is.
"""

from support import show

show(["keep-low=0", "match-channels"], (0, 0.5, 1))
