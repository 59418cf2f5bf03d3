"""The `ddib` command."""

import sys

import tyro

from ddib_jax.commands import COMMANDS


def main() -> int:
    """Run the sub-command on the command line; a wrong input is one sentence and exit code 1."""
    command = tyro.extras.subcommand_cli_from_dict(COMMANDS, prog="ddib", description="Image translation by diffusion bridges.")
    try:
        command.run()
    except (ValueError, OSError, FloatingPointError) as error:
        print(f"ddib: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
