"""Signing in: links that open once, passwords, sessions, and what guessing costs."""

import asyncio
import re

import pytest

from ingest.store.accounts import Role
from ingest.store.sign_in_links import Link
from tests.api.asked import Asked
from tests.dashboard.conftest import Admit, Apps
from tests.dashboard.visitor import PASSWORD, Visitor, account_id, invited, make_link
from tests.support.postgres import fetch

NEW = "another one, please"


def test_link_opens_once_and_not_by_being_looked_at(asked: Asked, visitor: Visitor) -> None:
    """A mail program or a chat may look at it first."""
    path = f"/welcome/{make_link(asked.database_url, Link())}"
    for _ in range(2):
        assert visitor.get(path).status_code == 200
    answer = visitor.post(path, email=" Once@Example.com ", password=PASSWORD)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/apps")
    assert "once@example.com" in visitor.get("/apps").text
    for again in (visitor.get(path), visitor.post(path, email="a@example.com", password=PASSWORD)):
        assert again.status_code == 410


def test_link_is_over_after_its_time(asked: Asked, visitor: Visitor) -> None:
    """By the database's clock."""
    token = make_link(asked.database_url, Link())
    passed = "UPDATE sign_in_links SET expires_at = now() - interval '1 second'"
    asyncio.run(fetch(asked.database_url, passed))
    assert (
        visitor.post(f"/welcome/{token}", email="l@example.com", password=PASSWORD).status_code
        == 410
    )


@pytest.mark.parametrize(
    ("email", "password", "told"),
    [
        ("nobody", PASSWORD, "e-mail address"),
        ("", PASSWORD, "e-mail address"),
        (f"{'a' * 250}@example.com", PASSWORD, "e-mail address"),
        ("a@exam\x00ple.com", PASSWORD, "e-mail address"),
        ("a b@example.com", PASSWORD, "e-mail address"),
        ("a@example.com", "too short", "10 characters"),
        ("a@example.com", "x" * 501, "10 characters"),
    ],
)
def test_mistake_does_not_use_a_link_up(
    asked: Asked, visitor: Visitor, email: str, password: str, told: str
) -> None:
    """It is said what is wrong, and the form is there again."""
    path = f"/welcome/{make_link(asked.database_url, Link())}"
    answer = visitor.post(path, email=email, password=password)
    assert answer.status_code == 422
    assert told in answer.text
    assert visitor.get(path).status_code == 200


def test_address_that_has_an_account_keeps_it(asked: Asked, admit: Admit, visitor: Visitor) -> None:
    """A link is no way to take it over; it opens for somebody else yet."""
    somebody = admit()
    path = f"/welcome/{make_link(asked.database_url, Link())}"
    answer = visitor.post(path, email=somebody.email.upper(), password=NEW)
    assert answer.status_code == 422
    assert "has an account" in answer.text
    assert visitor.sign_in(somebody.email).status_code == 303
    assert Visitor(asked.url).get(path).status_code == 200


def test_invitation_is_taken_by_who_has_signed_in(asked: Asked, admit: Admit, apps: Apps) -> None:
    """Without another password; and the role is the one of that app alone."""
    somebody = admit(Role.VIEWER, "two")
    path = f"/welcome/{make_link(asked.database_url, invited(apps['one'], Role.MEMBER))}"
    assert somebody.email in somebody.get(path).text
    assert somebody.post(path).status_code == 303
    assert somebody.get(f"/apps/{apps['one']}/people").status_code == 200
    assert somebody.get(f"/apps/{apps['two']}/people").status_code == 403
    assert somebody.post(path).status_code == 410


def test_invitation_makes_nobody_less(asked: Asked, admit: Admit, apps: Apps) -> None:
    """An owner who opens a viewer's stays one."""
    owner = admit(Role.OWNER)
    path = f"/welcome/{make_link(asked.database_url, invited(apps['one'], Role.VIEWER))}"
    assert owner.post(path).status_code == 303
    assert owner.get(f"/apps/{apps['one']}/changes").status_code == 200


def test_invitation_of_who_was_sent_away_does_not_open(
    asked: Asked, admit: Admit, apps: Apps
) -> None:
    """Nobody comes back by a link of their own."""
    owner, admin, page = admit(Role.OWNER), admit(), f"/apps/{apps['one']}/people"
    link = re.search(r"/welcome/[\w-]{43}", owner.post(f"{page}/invite", role="owner").text)
    assert link
    assert Visitor(asked.url).get(link[0]).status_code == 200
    number = account_id(asked.database_url, owner.email)
    assert admin.post(f"{page}/{number}/remove").status_code == 303
    assert owner.get(link[0]).status_code == 410
    assert owner.post(link[0]).status_code == 410
    assert owner.get(page).status_code == 404


def test_links_of_an_account_are_worth_nothing_behind_the_first(asked: Asked, admit: Admit) -> None:
    """Nor after its password was changed."""
    somebody = admit()
    number = account_id(asked.database_url, somebody.email)
    paths = [f"/welcome/{make_link(asked.database_url, Link(account_id=number))}" for _ in range(3)]
    visitor = Visitor(asked.url)
    assert visitor.post(paths[0], password=NEW).status_code == 303
    assert Visitor(asked.url).post(paths[1], password=PASSWORD).status_code == 410
    path = f"/welcome/{make_link(asked.database_url, Link(account_id=number))}"
    changed = visitor.post("/account/password", password=NEW, new_password=PASSWORD)
    assert changed.status_code == 303
    assert Visitor(asked.url).post(path, password=NEW).status_code == 410


def test_browser_of_any_name_signs_in(asked: Asked) -> None:
    """Also of one that is no UTF-8; and what it is called is shown."""
    visitor = Visitor(asked.url)
    visitor.browser.headers["User-Agent"] = b"Caf\xe9"
    visitor.join(asked.database_url, Link(), "cafe@example.com")
    assert "Caf?" in visitor.get("/account").text


def test_forgotten_password_is_chosen_anew_by_a_link(asked: Asked, admit: Admit) -> None:
    """The one before is worth nothing then, nor is any session."""
    somebody, again = admit(), Visitor(asked.url)
    number = account_id(asked.database_url, somebody.email)
    path = f"/welcome/{make_link(asked.database_url, Link(account_id=number))}"
    assert somebody.email in again.get(path).text
    assert again.post(path, email="other@example.com", password=NEW).status_code == 303
    assert somebody.get("/apps").headers["Location"] == "/sign-in"
    assert Visitor(asked.url).sign_in(somebody.email).status_code == 401
    assert Visitor(asked.url).sign_in(somebody.email, NEW).status_code == 303


def test_wrong_password_and_unknown_account_are_told_alike(asked: Asked, admit: Admit) -> None:
    """To the letter, but for the address that was typed."""
    known = admit().email
    unknown = known.replace("p", "q")
    told = {
        Visitor(asked.url).sign_in(email, "wrong password").text.replace(email, "ADDRESS")
        for email in (known, unknown)
    }
    assert len(told) == 1
    assert "ADDRESS" in told.pop()


def test_guessing_has_to_wait_and_locks_nobody_out(asked: Asked, admit: Admit) -> None:
    """Who has waited gets in with the right one; another account does at once."""
    somebody, other = admit(), admit()
    statuses = [Visitor(asked.url).sign_in(somebody.email, f"guess {n}") for n in range(12)]
    assert [each.status_code for each in statuses[:5]] == [401] * 5
    assert 429 in {each.status_code for each in statuses[5:]}
    slowed = next(each for each in statuses if each.status_code == 429)
    assert 1 <= int(slowed.headers["Retry-After"]) <= 300
    assert Visitor(asked.url).sign_in(other.email).status_code == 303


def test_who_guesses_through_a_proxy_holds_up_nobody_else_behind_it(
    asked: Asked, admit: Admit
) -> None:
    """Whatever they say of themselves: the proxy's own word is the last one."""
    email = admit().email
    guesser, owner = Visitor(asked.url), Visitor(asked.url)
    owner.browser.headers["X-Forwarded-For"] = "198.51.100.7"
    statuses = []
    for number in range(12):  # the wait doubles: a slow machine is not faster than that
        guesser.browser.headers["X-Forwarded-For"] = f"203.0.113.{number}, 192.0.2.1"
        statuses.append(guesser.sign_in(email, f"guess {number}").status_code)
    assert 429 in statuses
    assert owner.sign_in(email).status_code == 303


def test_cookie_is_for_the_server_alone(asked: Asked, admit: Admit) -> None:
    """No script reads it; behind TLS no plain connection carries it, and no other host sets it."""
    email = admit().email
    plain = Visitor(asked.url).sign_in(email).headers["Set-Cookie"]
    assert re.fullmatch(
        r"nonito_session=[\w-]{43}; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax", plain
    )
    behind_tls = Visitor(asked.url)
    behind_tls.browser.headers["X-Forwarded-Proto"] = "https"
    secure = behind_tls.sign_in(email).headers["Set-Cookie"]
    assert secure.startswith("__Host-nonito_session=")
    assert secure.endswith("; Secure")


def test_session_is_a_new_one_with_every_sign_in(asked: Asked, admit: Admit) -> None:
    """What a browser was given before, by whomever, is no session of anybody."""
    email = admit().email
    visitor = Visitor(asked.url)
    visitor.browser.cookies.set("nonito_session", "planted" * 6, domain="127.0.0.1", path="/")
    assert visitor.sign_in(email).status_code == 303
    first = visitor.browser.cookies.get("nonito_session", domain="127.0.0.1")
    assert first != "planted" * 6
    before = Visitor(asked.url)
    before.browser.cookies.set("nonito_session", str(first))
    assert before.get("/apps").status_code == 200
    assert visitor.sign_in(email).status_code == 303
    assert before.get("/apps").headers["Location"] == "/sign-in"


def test_signing_out_ends_the_session_everywhere_it_was_copied(asked: Asked, admit: Admit) -> None:
    """The token itself is worth nothing any more."""
    somebody = admit()
    copied = Visitor(asked.url)
    copied.browser.cookies.update(somebody.browser.cookies)
    answer = somebody.post("/sign-out")
    assert "Max-Age=0" in answer.headers["Set-Cookie"]
    assert copied.get("/apps").headers["Location"] == "/sign-in"


def test_sessions_are_ended_one_by_one_or_all(asked: Asked, admit: Admit) -> None:
    """But nobody else's."""
    here, other = admit(), admit()
    there, elsewhere = Visitor(asked.url), Visitor(asked.url)
    for each in (there, elsewhere):
        assert each.sign_in(here.email).status_code == 303
    found = re.findall(r"/account/sessions/(\d+)/end", here.get("/account").text)
    assert len(found) == 3
    assert other.post(f"/account/sessions/{found[0]}/end").status_code == 404
    newest = max(found, key=int)
    assert here.post(f"/account/sessions/{newest}/end").status_code == 303
    assert [each.get("/apps").status_code for each in (here, there, elsewhere)] == [200, 200, 303]
    assert here.post("/account/sessions/end-others").status_code == 303
    assert [each.get("/apps").status_code for each in (here, there)] == [200, 303]


def test_password_is_changed_by_who_knows_it(asked: Asked, admit: Admit) -> None:
    """And every other session ends."""
    somebody, there = admit(), Visitor(asked.url)
    assert there.sign_in(somebody.email).status_code == 303
    for now, new, told in (("wrong", NEW, "not your password"), (PASSWORD, "short", "10 char")):
        answer = somebody.post("/account/password", password=now, new_password=new)
        assert answer.status_code == 422
        assert told in answer.text
    assert there.get("/apps").status_code == 200
    changed = somebody.post("/account/password", password=PASSWORD, new_password=NEW)
    assert changed.status_code == 303
    assert [each.get("/apps").status_code for each in (somebody, there)] == [200, 303]
    assert Visitor(asked.url).sign_in(somebody.email, NEW).status_code == 303


def test_session_ends_on_its_own(asked: Asked, admit: Admit) -> None:
    """By the database's clock."""
    somebody = admit()
    over = "UPDATE account_sessions SET expires_at = now() WHERE account_id = $1"
    number = account_id(asked.database_url, somebody.email)
    asyncio.run(fetch(asked.database_url, over, number))
    assert somebody.get("/apps").headers["Location"] == "/sign-in"


def test_secrets_are_kept_nowhere(asked: Asked, admit: Admit, visitor: Visitor) -> None:
    """Neither a link, nor a session's token, nor a password is in the database."""
    token = make_link(asked.database_url, Link())
    secrets = [token, PASSWORD, str(admit().browser.cookies.get("nonito_session"))]
    rows = asyncio.run(
        fetch(
            asked.database_url,
            "SELECT row_to_json(a)::text FROM accounts a UNION ALL"
            " SELECT row_to_json(s)::text FROM account_sessions s UNION ALL"
            " SELECT row_to_json(l)::text FROM sign_in_links l UNION ALL"
            " SELECT row_to_json(g)::text FROM audit_log g",
        )
    )
    kept = "\n".join(row[0] for row in rows)
    assert "argon2id" in kept
    assert [secret for secret in secrets if secret in kept] == []
    assert visitor.get(f"/welcome/{token}").status_code == 200
