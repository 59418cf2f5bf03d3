"""`python -m ddib_jax.cli` is `ddib`."""

import sys

from ddib_jax.cli import main

sys.exit(main())
