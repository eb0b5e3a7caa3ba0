"""Changes come from the dashboard's own pages, in forms of a bounded size."""

import socket

import pytest
import requests

from tests.api.asked import Asked
from tests.dashboard.conftest import Admit
from tests.dashboard.visitor import OWN, TIMEOUT_S

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def send(asked: Asked, cookies: object, body: bytes, **headers: str) -> requests.Response:
    """Send a form that makes an app, with these headers."""
    return requests.post(
        f"{asked.url}/apps",
        data=body,
        headers={name.replace("_", "-"): value for name, value in headers.items()},
        cookies=cookies,  # type: ignore[arg-type] # a jar
        allow_redirects=False,
        timeout=TIMEOUT_S,
    )


SENDERS = {
    "a page of ours": ({"Sec_Fetch_Site": "same-origin"}, 303),
    "another site": ({"Sec_Fetch_Site": "cross-site"}, 403),
    "another host of ours": ({"Sec_Fetch_Site": "same-site"}, 403),
    "a bookmark": ({"Sec_Fetch_Site": "none"}, 403),
    "an old browser, a page of ours": ({"Origin": "http://{host}"}, 303),
    "an old browser, another site": ({"Origin": "http://evil.example"}, 403),
    "an old browser, a site that begins as ours": ({"Origin": "http://{host}.evil.example"}, 403),
    "an old browser, nobody": ({"Origin": "null"}, 403),
    "who says nothing": ({}, 403),
    "who says two things": ({"Sec_Fetch_Site": "cross-site", "Origin": "http://{host}"}, 403),
}


@pytest.mark.parametrize(("headers", "status"), SENDERS.values(), ids=SENDERS)
def test_change_comes_from_a_page_of_ours(
    asked: Asked, admit: Admit, headers: dict[str, str], status: int
) -> None:
    """Whatever cookie a browser sends along."""
    admin, host = admit(), asked.url.removeprefix("http://")
    filled = {name: value.format(host=host) for name, value in headers.items()}
    name = f"app{admin.email}".encode().replace(b"@", b"%40")
    answer = send(asked, admin.browser.cookies, b"name=" + name, **FORM, **filled)
    assert answer.status_code == status
    assert (name.replace(b"%40", b"@").decode() in admin.get("/apps").text) == (status == 303)


BODIES = {
    "JSON": (b'{"name": "a"}', {"Content-Type": "application/json"}, 415),
    "no kind": (b"name=a", {"Content-Type": ""}, 415),
    "too large": (b"name=" + b"a" * 70_000, FORM, 413),
    "too many fields": (b"&".join(b"a%d=1" % n for n in range(200)), FORM, 400),
    "no UTF-8": (b"name=\xff", FORM, 400),
    "no UTF-8, encoded": (b"name=%ff", FORM, 400),
    "empty": (b"", FORM, 422),
    "a name too long": (b"name=" + b"a" * 101, FORM, 422),
    "a line": (b"name=a%0ab", FORM, 422),
    "a zero": (b"name=a%00b", FORM, 422),
    "a direction": (b"name=%E2%80%AEevil", FORM, 422),
}


@pytest.mark.parametrize(("body", "headers", "status"), BODIES.values(), ids=BODIES)
def test_form_that_is_none_is_refused_on_a_page(
    asked: Asked, admit: Admit, body: bytes, headers: dict[str, str], status: int
) -> None:
    """And the server goes on."""
    admin = admit()
    answer = send(asked, admin.browser.cookies, body, **OWN, **headers)
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert admin.get("/apps").status_code == 200


def test_body_that_does_not_come_is_not_waited_for(asked: Asked, admit: Admit) -> None:
    """Longer than the server's body_timeout_s; one that comes broken is told so."""
    admin = admit()
    cookie = "; ".join(f"{each.name}={each.value}" for each in admin.browser.cookies)
    host = asked.url.removeprefix("http://")
    name, _, port = host.partition(":")
    head = (
        f"POST /apps HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\n"
        "Sec-Fetch-Site: same-origin\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    )
    for rest, status in (
        ("Content-Length: 10\r\n\r\nname=", b"408"),
        ("Transfer-Encoding: chunked\r\n\r\nbroken\r\n", b"400"),
    ):
        with socket.create_connection((name, int(port)), timeout=TIMEOUT_S) as client:
            client.sendall((head + rest).encode())
            assert client.recv(100).split()[1] == status


def test_address_of_a_question_is_one_for_a_browser_too(admit: Admit) -> None:
    """And a page of nothing is told in the form that was asked for."""
    admin = admit()
    for path in ("/openapi.json", "/healthz"):
        answer = admin.get(path)
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/json")
    assert admin.get("/nothing").headers["Content-Type"] == "text/html; charset=utf-8"
    shown = admin.get("/nothing", Accept="application/json")
    assert (shown.status_code, shown.headers["Content-Type"]) == (404, "application/json")


def test_body_without_a_length_is_bounded_too(asked: Asked, admit: Admit) -> None:
    """It is read no further than a form may be."""
    admin = admit()
    answer = requests.post(
        f"{asked.url}/apps",
        data=(b"a" * 1024 for _ in range(200)),
        headers=OWN | FORM,
        cookies=admin.browser.cookies,
        timeout=TIMEOUT_S,
    )
    assert answer.status_code == 413
