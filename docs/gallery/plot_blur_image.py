"""
Blur the image (blur-image)
===========================

The source image is blurred by a Gaussian of that many pixels before it is encoded.

With one model, a five blurred by two pixels mostly becomes a dim seven, and blurred by four nearly
always a seven of the same colour, if a pale one. In DDIB half a pixel rids the sevens of frayed
strokes; more makes them bold and lets the hue drift.
"""

from support import show

show("blur-image", (0.5, 1, 2, 4))
