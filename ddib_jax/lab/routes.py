"""The answers to a browser, as a Starlette application."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable
from functools import partial
from importlib import resources
from typing import Any
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ddib_jax.lab.answers import Answers
from ddib_jax.lab.line import Dropped, Full, Line
from ddib_jax.lab.state import State

_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_FILES = (
    "page.html",
    "lab.css",
    "main.js",
    "ask.js",
    "controls.js",
    "dom.js",
    "draw.js",
    "picture.js",
    "share.js",
    "state.js",
    "view.js",
    "icon.svg",
)
"""The page's own files: no other one can be asked for."""
_CLIENT = re.compile(r"[0-9a-f-]{8,40}")
_KINDS = ("preview", "translation", "back", "near", "row", "film", "words")


def make_app(answers: Answers, line: Line) -> Starlette:
    """The application that answers about one lab: the page, its facts, and what is computed.

    What is asked for is computed in `line`, which is closed with the application. An error of a
    computation is answered in its own sentence.
    """
    known = answers.facts()

    async def facts(request: Request) -> Response:
        return JSONResponse(known)

    async def told(request: Request) -> Response:
        return JSONResponse(line.told())

    async def compute(request: Request) -> Response:
        kind = request.path_params["kind"]
        if kind not in _KINDS:
            return _said(404, f"There is nothing called '{kind[:40]}' here.")
        client, position = _from(request)
        query = (await request.body()).decode("utf-8", "strict")
        state = State.from_query(query)
        place = _whole(request.headers.get("x-place", "0"))
        asked = line.ask(client, kind, position, _work(answers, kind, state, place))
        return JSONResponse(await asyncio.wrap_future(asked))

    async def give(request: Request) -> Response:
        client, position = _from(request)
        content = await request.body()
        name = unquote(request.headers.get("x-name", "")[:400])
        work = partial(answers.lab.shelf.add, content, name=name)
        asked = line.ask(client, "picture", position, work)
        return JSONResponse({"image": await asyncio.wrap_future(asked)})

    @contextlib.asynccontextmanager
    async def living(app: Starlette) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(line.close)

    return Starlette(
        routes=[
            Route("/", _file("page.html")),
            Route("/style.css", _style),
            *(Route(f"/{name}", _file(name)) for name in _FILES),
            Route("/facts", facts),
            Route("/line", told),
            Route("/picture", give, methods=["POST"]),
            Route("/compute/{kind}", compute, methods=["POST"]),
        ],
        exception_handlers={Exception: _wrong, **dict.fromkeys(_EXPECTED, _wrong)},
        lifespan=living,
    )


_EXPECTED = (ValueError, OSError, ArithmeticError, MemoryError, ImportError, Dropped, Full)


def _work(answers: Answers, kind: str, state: State, place: int) -> Callable[[], Any]:
    """The computation of that kind."""
    if kind in ("preview", "translation"):
        return partial(answers.translation, state, quick=kind == "preview")
    if kind == "row":
        return partial(answers.row, state, place)
    return partial(getattr(answers, kind), state)


def _from(request: Request) -> tuple[str, int]:
    """The client and the position of a request; raises ValueError where they are none."""
    client = request.headers.get("x-client", "")
    if not _CLIENT.fullmatch(client):
        raise ValueError("The request does not say which page it is from; load the page again.")
    return client, _whole(request.headers.get("x-position", ""))


def _whole(word: str) -> int:
    """The number of a header; raises ValueError where it is none."""
    if not re.fullmatch("[0-9]{1,15}", word):
        raise ValueError("The request does not say where the page stands; load the page again.")
    return int(word)


def _said(status: int, sentence: str) -> JSONResponse:
    return JSONResponse({"said": sentence}, status)


async def _wrong(request: Request, error: Exception) -> Response:
    """An error in one sentence, as the command line prints it."""
    match error:
        case Dropped() | ClientDisconnect():
            return _said(409, "A newer position of the page came.")
        case Full():
            return _said(503, str(error))
        case ModuleNotFoundError() | MemoryError() | ArithmeticError():
            return _said(500, str(error) or type(error).__name__)
        case OSError(strerror=str(words)):
            return _said(500, f"{words}.")
        case ValueError() | OSError() | ImportError():
            return _said(400, str(error) or type(error).__name__)
    line = str(error).strip().partition("\n")[0][:200]
    return _said(500, f"The computation failed: {line or type(error).__name__}.")


def _file(name: str) -> Callable:
    """The route of one file of the page."""
    content = resources.files("ddib_jax.lab").joinpath("page", name).read_bytes()
    kind = _TYPES[name.rpartition(".")[2]]

    async def answer(request: Request) -> Response:
        return Response(content, media_type=kind)

    return answer


async def _style(request: Request) -> Response:
    """The colours and type of every page of this house."""
    content = resources.files("ddib_jax.report").joinpath("page.css").read_bytes()
    return Response(content, media_type="text/css")
