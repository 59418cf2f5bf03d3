"""The page of `ddib lab` as a Hugging Face Space: for everybody, on the shipped models.

The Space's own host and those of its frame are the names that it is called by. There is no token,
for the page is public; nothing that a visitor asks for reads or writes a file.
"""

import os

from ddib_jax import parallel
from ddib_jax.lab import listen, open_lab, serve


def main() -> None:
    """Serve the page where a Space is asked, at port 7860 of every address."""
    parallel.keep_compiled()
    names = [os.environ[name] for name in ("SPACE_HOST",) if name in os.environ]
    with listen("0.0.0.0", 7860) as listening:
        origin = open_lab(os.environ.get("SOURCE", "five"), os.environ.get("TARGET", "seven"))
        serve(origin, listening, hosts=names, token=None, framed=True)


if __name__ == "__main__":
    main()
