"""The `ddib` command."""

import sys
from collections.abc import Sequence
from typing import Any

import tyro

from ddib_jax import parallel
from ddib_jax.commands import COMMANDS


def parse(args: Sequence[str] | None = None) -> Any:
    """The sub-command that the command line (or `args`) asks for, with its options, not yet run."""
    description = "Unpaired image-to-image translation with diffusion bridges."
    return tyro.extras.subcommand_cli_from_dict(COMMANDS, prog="ddib", description=description, args=args)


def main(args: Sequence[str] | None = None) -> int:
    """Run the sub-command of the command line (or of `args`); a wrong input is one sentence and exit code 1."""
    command = parse(args)
    parallel.keep_compiled()
    try:
        command.run()
    except (ValueError, OSError, FloatingPointError) as error:
        print(f"ddib: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
