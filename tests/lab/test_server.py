"""The server: who may ask, what is answered, and that a wrong request is one sentence."""

import io
import json

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("starlette", reason="Starlette is not installed")
from starlette.testclient import TestClient

from ddib_jax.lab import Guard, Line, State, listen
from ddib_jax.lab.answers import Answers
from ddib_jax.lab.guard import MOST_BODY
from ddib_jax.lab.routes import make_app

FROM = {"x-client": "0123456789", "x-position": "1"}


def client_of(lab, **options):
    app = Guard(make_app(Answers(lab), Line()), **options)
    return TestClient(app, base_url="http://127.0.0.1:7860", raise_server_exceptions=False)


@pytest.fixture(scope="module")
def client(lab):
    with client_of(lab) as client:
        yield client


def asked(client, kind, query, position=1, **headers):
    return client.post(
        f"/compute/{kind}", content=query, headers=FROM | {"x-position": str(position)} | headers
    )


@pytest.mark.slow
def test_the_page_and_its_files_come_from_here_alone(client):
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    for name in ("style.css", "lab.css", "main.js", "icon.svg"):
        text = client.get(f"/{name}").text
        assert "http" not in text.replace("http://www.w3.org/2000/svg", ""), name
    for path in ("/../state.py", "/page/../work.py", "/main.py", "/etc/passwd", "/%2e%2e/work.py"):
        assert client.get(path).status_code == 404


def test_facts_have_the_whole_registry(client, lab):
    facts = client.get("/facts").json()
    assert len(facts["images"]) == 3
    assert {"blur", "partial-noise"} <= {slider["name"] for slider in facts["sliders"]}
    assert State.from_query(facts["state"]) == lab.origin.first()
    json.dumps(facts, allow_nan=False)


@pytest.mark.slow
def test_a_translation_with_all_that_belongs_to_it(client):
    query = "image=1&perturb=blur=0.5&steps=6"
    found = asked(client, "translation", query).json()
    assert found.get("steps") == 6, found
    assert asked(client, "preview", query).json()["steps"] == 2
    assert set(found["pictures"]) == {"image", "latent", "perturbed", "translation"}
    assert all(uri.startswith("data:image/png;base64,") for uri in found["pictures"].values())
    assert found["figures"]["latent"]["variance"] > 0
    assert asked(client, "back", query).json()["error"] > 0
    assert len(asked(client, "row", query, **{"x-place": "0"}).json()["pictures"]) == 7
    assert asked(client, "near", query).json() == {}
    film = asked(client, "film", query).json()
    assert len(film["frames"]) == len(film["sigmas"]) == 13
    assert (film["turn"], film["sigmas"][6]) == (6, max(film["sigmas"]))
    words = asked(client, "words", query).json()
    assert words["query"] == "image=1&perturb=blur%3D0.5&steps=6"
    assert words["command"].startswith("ddib translate ")
    assert client.get("/line").json()["waiting"] == 0


def test_a_picture_is_given_and_translated(client):
    stream = io.BytesIO()
    Image.fromarray(np.full((20, 30), 90, np.uint8)).save(stream, "PNG")
    name = {"x-name": "..%2F..%2Fmine.png"}
    answer = client.post("/picture", content=stream.getvalue(), headers=FROM | name)
    word = answer.json()["image"]
    assert asked(client, "preview", f"image={word}").status_code == 200
    broken = client.post("/picture", content=b"broken", headers=FROM | name)
    assert broken.status_code == 400
    assert broken.json() == {"said": "mine.png cannot be read: no known image format."}


@pytest.mark.parametrize(
    ("kind", "query", "status", "said"),
    [
        ("translation", "perturb=blur=nan", 400, "'nan' is no number for blur."),
        ("translation", "image=99", 400, "There is no image 99"),
        ("translation", "image=/etc/passwd", 400, "is no image"),
        ("translation", "couple=mask:/etc/passwd", 400, "'mask' reads files"),
        ("translation", b"\xff\xfe", 400, "utf-8"),
        ("melt", "", 404, "nothing called 'melt'"),
        ("row", "perturb=blur=1", 400, "where the page stands"),
    ],
)
def test_a_wrong_request_is_one_sentence(client, kind, query, status, said):
    headers = {"x-place": "many"} if kind == "row" else {}
    answer = asked(client, kind, query, **headers)
    assert answer.status_code == status
    assert said in answer.json()["said"]


def test_a_page_says_who_it_is_and_where_it_stands(client):
    assert client.post("/compute/preview", content="").status_code == 400
    assert asked(client, "words", "", position=9).status_code == 200
    assert asked(client, "words", "", position=8).status_code == 409
    assert client.get("/compute/preview").status_code == 405


@pytest.mark.parametrize(
    ("headers", "status", "said"),
    [
        ({"host": "evil.example"}, 421, "not called 'evil.example'"),
        ({"host": "127.0.0.1.evil.example:7860"}, 421, "not called"),
        ({"host": "[::1"}, 421, "not called"),
        ({"origin": "http://evil.example"}, 403, "Another page"),
        ({"origin": "null"}, 403, "Another page"),
        ({"origin": "http://127.0.0.1:9999"}, 403, "Another page"),
        ({"sec-fetch-site": "cross-site"}, 403, "Another page"),
        ({"content-length": str(MOST_BODY + 1)}, 413, "The request has more than"),
    ],
)
def test_foreign_requests_are_refused(client, headers, status, said):
    answer = client.post("/compute/words", content="", headers=FROM | headers)
    assert answer.status_code == status
    assert said in answer.text


def test_its_own_origin_and_names_may_ask(client):
    for host in ("127.0.0.1:7860", "localhost:7860", "[::1]:7860", "LOCALHOST"):
        headers = {"host": host, "origin": f"http://{host}", "x-position": "99"}
        assert client.post("/compute/words", content="", headers=FROM | headers).is_success


def test_a_body_without_a_length_is_bounded_too(client):
    parts = (bytes(2**20) for _ in range(MOST_BODY // 2**20 + 2))
    answer = client.post("/picture", content=parts, headers=FROM | {"x-position": "100"})
    assert answer.status_code in (409, 413)


def test_a_token_is_asked_for_once(lab):
    with client_of(lab, token="secret", hosts=("lab.example",)) as client:
        client.base_url = "http://lab.example"
        assert client.get("/").status_code == 401
        assert client.get("/?token=wrong").status_code == 401
        moved = client.get("/?token=secret&image=1", follow_redirects=False)
        assert (moved.status_code, moved.headers["location"]) == (303, "./?image=1")
        assert "HttpOnly" in moved.headers["set-cookie"]
        assert client.get("/").status_code == 200, "by the cookie"
        client.cookies.clear()
        assert client.get("/", headers={"cookie": "ddib-lab=secre"}).status_code == 401


def test_a_port_that_is_taken_is_one_sentence():
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"Port {port} of 127.0.0.1 cannot be opened"):
            listen("127.0.0.1", port)
    with pytest.raises(OSError, match="cannot be opened"):
        listen("203.0.113.7", 0)
