"""The `ddib` command: each sub-command a frozen dataclass of its options with a `run`."""

from ddib_jax.cli.entry import main, parse

__all__ = ["main", "parse"]
