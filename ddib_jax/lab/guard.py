"""Who may ask: the host and the origin of a request, its size, and a token where it is needed."""

import secrets
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

MOST_BODY = 21_000_000
"""Bytes of a request's body at most: a picture's file, and a little."""
COOKIE = "ddib-lab"
LOOPBACK = ("127.0.0.1", "localhost", "::1")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:"
    " blob:; connect-src 'self'; base-uri 'none'; form-action 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


class Guard:
    """An ASGI application within another one's reach: what it refuses never comes to `app`.

    hosts: the names by which the page may be called; a request of another Host is one that a
    foreign name was bound to this machine for (DNS rebinding), and one of another Origin is a
    foreign page's. token: what a browser must know, from the address that was printed or from the
    cookie that it got for it; None where anybody who reaches the port may look. framed: whether
    other pages may show this one in a frame.
    """

    def __init__(
        self,
        app: App,
        *,
        hosts: Collection[str] = LOOPBACK,
        token: str | None = None,
        framed: bool = False,
    ):
        self._app, self._token = app, token
        self._hosts = frozenset(host.lower() for host in hosts)
        self._headers = dict(_HEADERS)
        if not framed:
            self._headers["content-security-policy"] += "; frame-ancestors 'none'"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it in one sentence."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in scope["headers"]
        }
        refused = self._refused(scope, headers)
        if refused is not None:
            await _say(send, *refused, headers=self._headers)
            return
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if self._token is not None and given:
            # The token leaves the address at once, so that no copied link holds it.
            cookie = f"{COOKIE}={self._token}; HttpOnly; SameSite=Strict; Path=/"
            asked = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
            rest = urlencode([pair for pair in asked if pair[0] != "token"])
            moved = {"location": f"./?{rest}" if rest else "./", "set-cookie": cookie}
            await _say(send, 303, "", headers=self._headers | moved)
            return

        async def told(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                own = [(k.encode(), v.encode()) for k, v in self._headers.items()]
                message["headers"] = [*message.get("headers", ()), *own]
            await send(message)

        await self._app(scope, _bounded(receive), told)

    def _refused(self, scope: Scope, headers: dict[str, str]) -> tuple[int, str] | None:
        """The status and the sentence by which a request is refused; None where it is not."""
        host = _name(headers.get("host", ""))
        if host not in self._hosts:
            return 421, (
                f"This page is not called '{host[:80]}'; open it by the address that `ddib lab`"
                " printed, or name the host (--host)."
            )
        origin = headers.get("origin")
        foreign = origin is not None and urlsplit(origin).netloc != headers.get("host")
        if foreign or (headers.get("sec-fetch-site") == "cross-site" and scope["method"] != "GET"):
            return 403, "Another page asked for this one's work; that is refused."
        size = headers.get("content-length", "0")
        if not size.isdecimal() or int(size) > MOST_BODY:
            return 413, (f"The request has more than the {MOST_BODY / 1e6:.3g} MB that are read.")
        if self._token is None:
            return None
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if not secrets.compare_digest((given or _cookie(headers)).encode(), self._token.encode()):
            return 401, "This page has a token; open it by the address that `ddib lab` printed."
        return None


def _name(host: str) -> str:
    """The name in a Host header, without its port."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _cookie(headers: dict[str, str]) -> str:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return "" if found is None else found.value


def _bounded(receive: Receive) -> Receive:
    """`receive`, of which a body that is longer than it may be ends as if the client had left."""
    read = 0

    async def received() -> MutableMapping[str, Any]:
        nonlocal read
        message = await receive()
        read += len(message.get("body", b""))
        return {"type": "http.disconnect"} if read > MOST_BODY else message

    return received


async def _say(send: Send, status: int, sentence: str, *, headers: dict[str, str]) -> None:
    own = {"content-type": "text/plain; charset=utf-8"} | headers
    pairs = [(name.encode(), value.encode("latin-1")) for name, value in own.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": sentence.encode()})
