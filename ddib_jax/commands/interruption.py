"""Ctrl-C that ends a command within seconds, whatever it waits for."""

import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ddib_jax.files import remove_drafts

INTERRUPTED = 130
"""The exit code of a process that Ctrl-C ended, as shells count it."""
SENTENCE = "ddib: stopped by Ctrl-C; what is complete stays."


@contextmanager
def ending_promptly(*, seconds: float = 3.0) -> Iterator[None]:
    """Within the block, and after its KeyboardInterrupt, Ctrl-C ends the process in `seconds`.

    Python raises KeyboardInterrupt only when the main thread runs Python again, which it does not
    while it waits for a device. Where somebody else handles the signal, as a training does, nothing
    is ended. Does nothing outside of the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reader, writer = socket.socketpair()
    writer.settimeout(0)
    before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    ended = threading.Event()

    def watch() -> None:
        while number := reader.recv(1):
            ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
            if number[0] == signal.SIGINT and ours and not ended.wait(seconds):
                remove_drafts()
                print(SENTENCE, file=sys.stderr, flush=True)
                os._exit(INTERRUPTED)

    threading.Thread(target=watch, name="interruption", daemon=True).start()
    try:
        yield
    except KeyboardInterrupt:
        raise  # the watch goes on: the interpreter's end may wait for a device, too
    except BaseException:
        ended.set()
        raise
    else:
        ended.set()
    finally:
        signal.set_wakeup_fd(before)
        if ended.is_set():
            writer.close()
