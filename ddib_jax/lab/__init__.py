"""A page on which a latent is seen and moved: an image, its latent, a translation, and sliders.

`Lab` computes, `Line` has one computation at a time, `routes.make_app` answers a browser by what
`answers.Answers` says, `serve` opens the port. The page itself is plain HTML, CSS and modules in
`page/`, and fetches nothing from elsewhere.
"""

from ddib_jax.lab.guard import LOOPBACK, Guard
from ddib_jax.lab.line import Dropped, Full, Line
from ddib_jax.lab.origin import SHOWN, Origin, open_lab
from ddib_jax.lab.pictures import Shelf
from ddib_jax.lab.server import PORT, listen, serve
from ddib_jax.lab.share import as_command, as_python
from ddib_jax.lab.sliders import Slider, all_sliders, slider
from ddib_jax.lab.state import Side, State
from ddib_jax.lab.work import QUICK, Found, Lab

__all__ = [
    "LOOPBACK",
    "PORT",
    "QUICK",
    "SHOWN",
    "Dropped",
    "Found",
    "Full",
    "Guard",
    "Lab",
    "Line",
    "Origin",
    "Shelf",
    "Side",
    "Slider",
    "State",
    "all_sliders",
    "as_command",
    "as_python",
    "listen",
    "open_lab",
    "serve",
    "slider",
]
