"""Signals that end a command within seconds, whatever it waits for, and leave nothing half-done."""

import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from ddib_jax.files import remove_drafts

_TERMINATING = {getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)}
"""Signals that end a process, SIGHUP as its terminal is closed; some systems have not all."""


class Ended(BaseException):
    """A signal told the process to end; raised in the main thread, so that blocks clean up."""

    def __init__(self, number: int):
        super().__init__(farewell(number))
        self.code = exit_code(number)


def exit_code(number: int) -> int:
    """The exit code of a process that a signal ended, as shells count it."""
    return 128 + number


def farewell(number: int) -> str:
    """What is said of a signal that ended a command."""
    name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
    return f"ddib: stopped by {name}; what is complete stays."


@contextmanager
def ending_promptly(*, seconds: float = 3.0) -> Iterator[None]:
    """Within the block a signal to end raises, and ends the process where that takes `seconds`.

    Ctrl-C raises KeyboardInterrupt, SIGTERM and SIGHUP raise `Ended`. Python raises only when the
    main thread runs Python again, which it does not while it waits for a device; so after one of
    the three the process is ended from another thread, also behind the block. Where somebody else
    handles a signal, as a training does, or it is ignored (nohup), that stays so. Does nothing
    outside of the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    told = threading.Event()

    def end(number: int, _: FrameType | None) -> None:
        if not told.is_set():  # a second one must not disturb the cleaning after the first
            told.set()
            raise Ended(number)

    ours: dict[int, Any] = {signal.SIGINT: signal.default_int_handler}
    for number in _TERMINATING:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, end)
            ours[number] = end
    reader, writer = socket.socketpair()
    writer.settimeout(0)
    before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    ended = threading.Event()

    def watch() -> None:
        while received := reader.recv(1):
            number = received[0]
            handled = number in ours and signal.getsignal(number) is ours[number]
            if handled and not ended.wait(seconds):
                remove_drafts()
                with suppress(OSError):
                    print(farewell(number), file=sys.stderr, flush=True)
                os._exit(exit_code(number))

    threading.Thread(target=watch, name="interruption", daemon=True).start()
    try:
        yield
    except (KeyboardInterrupt, Ended):
        told.set()
        raise  # the watch goes on: the interpreter's end may wait for a device, too
    except BaseException:
        ended.set()
        raise
    else:
        ended.set()
    finally:
        signal.set_wakeup_fd(before)
        if ended.is_set():
            for number in ours.keys() - {signal.SIGINT}:
                signal.signal(number, signal.SIG_DFL)
            writer.close()
