"""The `ddib` command."""

import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import tyro
from jax.errors import JaxRuntimeError

from ddib_jax import distributed, parallel
from ddib_jax.commands import COMMANDS
from ddib_jax.training import Stopped

_TERMINATED = 143
"""The exit code of a process that SIGTERM ended, as shells count it."""


def parse(args: Sequence[str] | None = None) -> Any:
    """The sub-command that the command line (or `args`) asks for, with its options, not yet run."""
    description = "Unpaired image-to-image translation with diffusion bridges."
    return tyro.extras.subcommand_cli_from_dict(
        COMMANDS, prog="ddib", description=description, args=args
    )


def main(args: Sequence[str] | None = None) -> int:
    """Run the sub-command of the command line (or of `args`); a wrong input is one sentence and
    exit code 1.

    A command that judges (`diagnose`) returns its own exit code.
    """
    command = parse(args)
    parallel.keep_compiled()
    with warnings.catch_warnings():
        warnings.showwarning = _said(warnings.showwarning)
        try:
            return command.run() or 0
        except (ValueError, OSError, FloatingPointError, ImportError, MemoryError) as error:
            print(f"ddib: {error}", file=sys.stderr)
            return distributed.leave(1)
        except Stopped as stopped:
            print(f"ddib: {stopped}", file=sys.stderr)
            return _TERMINATED
        except JaxRuntimeError as error:
            if distributed.shard().count == 1:
                raise
            print(
                "ddib: another process failed, or the network between them"
                f" ({str(error).splitlines()[0][:200]}).",
                file=sys.stderr,
            )
            return distributed.leave(1)


def _said(show: Callable) -> Callable:
    """A warning of our own in one sentence, those of other libraries as they are."""

    def shown(message, category, *where):
        if category is UserWarning:
            print(f"ddib: warning: {message}", file=sys.stderr)
        else:
            show(message, category, *where)

    return shown


if __name__ == "__main__":
    sys.exit(main())
