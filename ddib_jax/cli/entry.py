"""From the words of a command line to an exit code: a wrong input becomes one sentence."""

import contextlib
import difflib
import errno
import inspect
import io
import os
import signal
import sys
import textwrap
import warnings
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import ddib_jax
from ddib_jax.cli.registry import COMMANDS, Command
from ddib_jax.xla_flags import prefer_equal_bits

_COMPLETION = ("--tyro-print-completion", "--tyro-write-completion")
_LIBRARIES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def parse(args: Sequence[str]) -> Any:
    """The command that the words of a command line ask for, with its options, not yet run.

    Raises SystemExit: 0 after help or the version, 2 for a wrong command line.
    """
    name, *rest = args or [""]
    if name in ("-h", "--help"):
        print(_overview())
        sys.exit(0)
    if name == "--version":
        print(_versions())
        sys.exit(0)
    if name in _COMPLETION:
        return _completion([name, *rest])
    if name not in COMMANDS:
        sys.exit(_unknown(name))
    from ddib_jax.options import cli  # here: an overview of the commands does not wait for it

    command = COMMANDS[name]
    options = command.load()
    if hasattr(options, "for_help") and {"-h", "--help"} & set(rest):
        options = options.for_help(rest)
    return cli(options, args=rest, prog=f"ddib {name}", description=_description(options, command))


def main() -> int:
    """Run the command that this process was started with; returns its exit code.

    A wrong input is one sentence on stderr and 1; what a signal ended is 128 and its number, 130
    after Ctrl-C and 143 after SIGTERM; a command that examines (`diagnose`) has an exit code of its
    own.
    """
    try:
        return _run(sys.argv[1:])
    except KeyboardInterrupt:
        # While modules are imported, which takes seconds.
        print("ddib: stopped by Ctrl-C; nothing had begun.", file=sys.stderr)
        return 128 + signal.SIGINT


def _run(args: Sequence[str]) -> int:
    """Run the command of a command line; returns the exit code of the process."""
    command = parse(args)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names of files may hold what no terminal shows
            stream.reconfigure(errors="backslashreplace")
    if not COMMANDS[args[0]].needs_jax:
        return _run_without_jax(command)
    # Here: the overview of the commands needs no JAX.
    import jax
    import jax.numpy as jnp
    from jax.errors import JaxRuntimeError
    from PIL.Image import DecompressionBombWarning

    from ddib_jax import distributed, parallel
    from ddib_jax.cli.interruption import Ended, ending_promptly, exit_code, farewell
    from ddib_jax.training import Stopped

    try:
        if getattr(getattr(command, "crossing", None), "needs_equal_bits", False):
            prefer_equal_bits()
        if jnp.result_type(float) == jnp.float64:
            print("ddib: JAX_ENABLE_X64 is of no use here: models are of float32.", file=sys.stderr)
            jax.config.update("jax_enable_x64", False)
        parallel.keep_compiled()
        with warnings.catch_warnings(), ending_promptly():
            warnings.showwarning = _in_one_sentence(warnings.showwarning)
            # Of Pillow's own bound on pixels: the reader keeps one of ours, with an error.
            warnings.filterwarnings("ignore", category=DecompressionBombWarning)
            return command.run() or 0
    except KeyboardInterrupt:
        print(farewell(signal.SIGINT), file=sys.stderr)
        return distributed.leave(exit_code(signal.SIGINT))
    except Ended as ended:
        with contextlib.suppress(OSError):  # the terminal may be what ended
            print(ended, file=sys.stderr, flush=True)
        return distributed.leave(ended.code)
    except BrokenPipeError:  # who read stdout, such as `head`, has enough
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return distributed.leave(128 + 13)  # as of SIGPIPE
    except (ValueError, OSError, FloatingPointError, ImportError, MemoryError) as error:
        print(f"ddib: {_in_words(error)}", file=sys.stderr)
        return distributed.leave(1)
    except Stopped as stopped:
        with contextlib.suppress(OSError):
            print(f"ddib: {stopped}", file=sys.stderr, flush=True)
        return stopped.code
    except RuntimeError as error:
        if said := _of_device(error):
            print(f"ddib: {said}", file=sys.stderr)
            return distributed.leave(1)
        if not isinstance(error, JaxRuntimeError) or distributed.shard().count == 1:
            raise
        cause = str(error).splitlines()[0][:200]
        print(
            f"ddib: another process failed, or the network between them ({cause}).",
            file=sys.stderr,
        )
        return distributed.leave(1)


def _in_words(error: Exception) -> str:
    """An error as a sentence: the system's own with what it befell, of ours what they say."""
    if not (isinstance(error, OSError) and error.strerror):
        return str(error) or type(error).__name__
    where = "" if error.filename is None else f" ({error.filename})"
    advice = ""
    if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", None)):
        advice = "; what is complete stays, make room and start again"
    return f"{error.strerror}{where}{advice}."


def _run_without_jax(command: Any) -> int:
    """Run a command that computes nothing; returns its exit code."""
    from ddib_jax.cli.interruption import exit_code, farewell

    try:
        return command.run() or 0
    except KeyboardInterrupt:
        print(farewell(signal.SIGINT), file=sys.stderr)
        return exit_code(signal.SIGINT)
    except (ValueError, OSError) as error:
        print(f"ddib: {_in_words(error)}", file=sys.stderr)
        return 1


def _of_device(error: RuntimeError) -> str:
    """The sentence for an error of a device that is missing or too small; "" for another one."""
    line = str(error).strip().partition("\n")[0][:200]
    if "Unable to initialize backend" in line or "Unknown backend" in line:
        asked = os.environ.get("JAX_PLATFORMS", "")
        return (
            f"The device that JAX_PLATFORMS={asked} asks for cannot be had ({line}); leave it out,"
            " or install JAX for that device."
        )
    if "RESOURCE_EXHAUSTED" in line:
        return f"The device has too little memory ({line}); take a smaller batch, image or network."
    return ""


def _overview() -> str:
    """What `ddib --help` prints: the commands in groups, a line each."""
    lines = [
        "usage: ddib [-h] [--version] COMMAND ...",
        "",
        (ddib_jax.__doc__ or "").partition("\n")[0],
        "",
    ]
    width = max(map(len, COMMANDS)) + 2
    for group in dict.fromkeys(command.group for command in COMMANDS.values()):
        lines.append(f"{group}:")
        lines += [
            f"  {name:{width}}{command.summary}"
            for name, command in COMMANDS.items()
            if command.group == group
        ]
        lines.append("")
    return "\n".join([*lines, "`ddib COMMAND --help` shows a command's options, with examples."])


def _versions() -> str:
    """The versions of this package, of Python, and of the libraries that compute the results."""
    parts = [f"ddib_jax {ddib_jax.__version__}", f"Python {sys.version.split()[0]}"]
    for library in _LIBRARIES:
        try:
            parts.append(f"{library} {version(library)}")
        except PackageNotFoundError:
            parts.append(f"{library} missing")
    return ", ".join(parts)


def _unknown(name: str) -> int:
    """Print that there is no such command, and which are near; returns the exit code."""
    if not name:
        print(_overview(), file=sys.stderr)
        return 2
    near = difflib.get_close_matches(name, COMMANDS, n=2)
    guess = f" Did you mean {' or '.join(near)}?" if near else ""
    sentence = f"There is no command '{name}'.{guess} `ddib --help` lists them all."
    print(f"ddib: {sentence}", file=sys.stderr)
    return 2


def _completion(args: list[str]) -> Any:
    """The completion script for a shell, which needs the options of all commands."""
    import tyro

    commands = {name: command.load() for name, command in COMMANDS.items()}
    return tyro.extras.subcommand_cli_from_dict(commands, prog="ddib", args=args)


def _description(options: type, command: Command) -> str:
    """The docstring of a command's options, and its examples."""
    examples = textwrap.indent("\n".join(command.examples), "  ")
    return f"{inspect.cleandoc(options.__doc__ or '')}\n\nexamples:\n{examples}"


def _in_one_sentence(show: Callable) -> Callable:
    """`warnings.showwarning` that prints each of our own once, as a sentence; `show` has others."""

    shown = set()

    def show_warning(message, category, *where):
        if category is not UserWarning:
            show(message, category, *where)
        elif str(message) not in shown:
            shown.add(str(message))
            print(f"ddib: warning: {message}", file=sys.stderr)

    return show_warning
