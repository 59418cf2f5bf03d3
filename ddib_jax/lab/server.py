"""The port: who listens where, and what is printed of it."""

import secrets
import socket
import threading
from collections.abc import Collection
from concurrent.futures import Future
from contextlib import closing

from ddib_jax.lab.guard import LOOPBACK, App, Guard
from ddib_jax.lab.line import Line
from ddib_jax.lab.origin import Origin
from ddib_jax.lab.work import Lab

PORT = 7860
"""The port unless another one is asked for."""


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there; port 0 is any that is free.

    Raises OSError, in one sentence, where the address is taken or not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(128)
    except OSError as error:
        listening.close()
        why = (error.strerror or "it cannot be had").lower()
        raise OSError(
            f"Port {port} of {host} cannot be opened ({why}); give another one (--port), or 0 for"
            " any that is free."
        ) from error
    return listening


def serve(
    origin: Origin,
    listening: socket.socket,
    *,
    hosts: Collection[str] = (),
    token: str | None = "",
    framed: bool = False,
    query: str = "",
) -> None:
    """Serve the page until the process is told to stop, and print its address.

    listening: what `listen` opened, which is closed at the end; it comes first so that a port in
    use is told before models are read. hosts: further names by which the page may be called.
    token: what a browser must know where the port is not loopback's; "" draws one, None asks for
    none, which is for a page that is meant for everybody. framed: whether other pages may frame
    this one. query: a state that the address begins with. Raises ImportError without the extra
    `lab`.
    """
    with listening, closing(Line()) as line:
        try:
            import uvicorn
        except ModuleNotFoundError as error:
            raise ImportError(
                "The page needs a server; install it with: pip install 'ddib_jax[lab]'."
            ) from error
        host, port = listening.getsockname()[:2]
        local = host in LOOPBACK
        token = None if local else (secrets.token_urlsafe(16) if token == "" else token)
        names = (*LOOPBACK, host, *hosts)
        app = Guard(_begun(origin, line), hosts=names, token=token, framed=framed)
        print(f"The page is {_address(host, port, token, query)} (Ctrl-C ends it).", flush=True)
        config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="on")
        uvicorn.Server(config).run([listening])


def _begun(origin: Origin, line: Line) -> App:
    """The application, while its first translation is computed before anybody asks for it."""
    lab = Lab(origin)
    # The encoding is compiled while this thread reads the target and imports the rest.
    line.ask("first", "latent", 0, lambda: lab.encode(origin.encoded_first()))
    from ddib_jax.lab.answers import Answers
    from ddib_jax.lab.routes import make_app

    origin.target.model()
    first = line.ask("first", "translation", 1, lambda: lab.translate(origin.first()))

    def warm(done: Future) -> None:
        # Beside the line: the programs that the first moves of a slider need.
        if done.exception() is None:
            threading.Thread(target=lab.warm, name="warm", daemon=True).start()

    first.add_done_callback(warm)
    return make_app(Answers(lab), line)


def _address(host: str, port: int, token: str | None, query: str) -> str:
    named = f"[{host}]" if ":" in host else host
    asked = "&".join(part for part in (f"token={token}" if token else "", query) if part)
    return f"http://{named}:{port}/" + (f"?{asked}" if asked else "")
