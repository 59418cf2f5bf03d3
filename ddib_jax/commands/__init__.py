"""The sub-commands of `ddib`: each a frozen dataclass of its options with a `run`, composed from the rooms below."""

from ddib_jax.commands.train import Train

COMMANDS: dict[str, type] = {"train": Train}
