"""Keys made, replaced and revoked on their page: what they open, at once and no longer."""

import asyncio
import html
import re

import pytest
import requests

from ingest.store.accounts import Role
from ingest.store.app_settings import COLOURS
from ingest.store.tokens import digest
from ingest.web.pages import COMMON, read
from tests.api.asked import TIMEOUT_S, Asked
from tests.dashboard.conftest import Admit, Apps
from tests.dashboard.visitor import Visitor, secret_of
from tests.support.postgres import fetch
from tests.support.server import ROOT, wait_for

DASHBOARD_CSS = ROOT / "ingest" / "dashboard" / "static" / "dashboard.css"


def send(asked: Asked, key: str, **headers: str) -> int:
    """Send an event; return the status."""
    event = {"event_name": "a", "event_params": {}}
    answer = requests.post(
        f"{asked.server.url}/event",
        json=event,
        headers={"X-API-Key": key} | headers,
        timeout=TIMEOUT_S,
    )
    return answer.status_code


def actions(visitor: Visitor, page: str, key: str) -> list[str]:
    """Return where the forms of a key's row lead."""
    row = visitor.get(page).text.partition(key[:11])[2].partition("</tr>")[0]
    return re.findall(r'action="([^"]+)"', row)


@pytest.fixture
def page(apps: Apps) -> str:
    """Where the keys of the app `one` are."""
    return f"/apps/{apps['one']}/keys"


def test_key_works_as_soon_as_it_is_made(asked: Asked, admit: Admit, page: str) -> None:
    """It is shown once, and nowhere again."""
    member = admit(Role.MEMBER)
    key = secret_of(member.post(page, name="shop", kind="write", days=""))
    assert key.startswith("nk_")
    wait_for(lambda: send(asked, key) == 200)
    assert key not in member.get(page).text
    assert key[:11] in member.get(page).text


def test_key_that_reads_reads_its_app_alone(asked: Asked, admit: Admit, page: str) -> None:
    """And writes nothing."""
    key = secret_of(admit(Role.MEMBER).post(page, name="", kind="read", days="30"))
    assert key.startswith("nr_")
    assert asked.get("/v1/events", X_API_Key=key).status_code == 200
    assert send(asked, key) == 401


def test_key_that_is_replaced_is_valid_for_a_while(asked: Asked, admit: Admit, page: str) -> None:
    """So that nobody has to change it everywhere at the same moment."""
    member = admit(Role.MEMBER)
    before = secret_of(member.post(page, name="old", kind="write", days=""))
    after = secret_of(member.post(actions(member, page, before)[0]))
    assert after != before
    wait_for(lambda: send(asked, after) == 200)
    assert send(asked, before) == 200
    rows = member.get(page).text
    assert "never" not in rows.partition(before[:11])[2].partition("</tr>")[0]
    assert "never" in rows.partition(after[:11])[2].partition("</tr>")[0]


def test_key_that_is_revoked_is_refused(asked: Asked, admit: Admit, page: str) -> None:
    """By the server, within a second or so; and nothing more can be done with it."""
    member = admit(Role.MEMBER)
    key = secret_of(member.post(page, name="", kind="write", days=""))
    wait_for(lambda: send(asked, key) == 200)
    revoke = actions(member, page, key)[1]
    assert member.post(revoke).status_code == 303
    wait_for(lambda: send(asked, key) == 401)
    assert actions(member, page, key) == []
    assert member.post(revoke).status_code == 404


def test_key_in_another_one_s_place_lasts_as_long(asked: Asked, admit: Admit, page: str) -> None:
    """As that was made for."""
    member = admit(Role.MEMBER)
    before = secret_of(member.post(page, name="", kind="write", days="30"))
    after = secret_of(member.post(actions(member, page, before)[0]))
    lasts = "SELECT round(extract(epoch FROM expires_at - created_at) / 86400) FROM api_keys"
    (row,) = asyncio.run(fetch(asked.database_url, f"{lasts} WHERE prefix = $1", after[:11]))
    assert int(row[0]) == 30


def test_keys_of_an_app_are_bounded(asked: Asked, admit: Admit, apps: Apps) -> None:
    """And what can be revoked is listed: the new ones first."""
    member, page = admit(Role.MEMBER, "two"), f"/apps/{apps['two']}/keys"
    fill = (
        "INSERT INTO api_keys (app_id, name, prefix, secret_sha256)"
        " SELECT $1, 'many', 'nk_' || n, sha256(n::text::bytea) FROM generate_series(1, 490) n"
    )
    asyncio.run(fetch(asked.database_url, fill, apps["two"]))
    answers = [member.post(page, name="last", kind="write", days="") for _ in range(11)]
    assert [each.status_code for each in answers][-1] == 422
    made = [secret_of(each) for each in answers if each.status_code == 200]
    for key in made:
        assert member.post(actions(member, page, key)[1]).status_code == 303
    drop = "DELETE FROM api_keys WHERE name = 'many'"
    asyncio.run(fetch(asked.database_url, drop))
    assert made


def test_key_of_another_app_is_not_there(admit: Admit, apps: Apps, page: str) -> None:
    """Even for who may change keys of both."""
    admin = admit()
    key = secret_of(admin.post(page, name="", kind="write", days=""))
    elsewhere = [
        path.replace(f"/apps/{apps['one']}/", f"/apps/{apps['two']}/")
        for path in actions(admin, page, key)
    ]
    assert [admin.post(path).status_code for path in elsewhere] == [404, 404]
    assert len(actions(admin, page, key)) == 2


@pytest.mark.parametrize(
    ("name", "days", "told"),
    [
        ("x" * 101, "", "label"),
        ("a\nb", "", "label"),
        ("", "0", "days"),
        ("", "-1", "days"),
        ("", "36501", "days"),
        ("", "9" * 1000, "days"),
        ("", "0" * 4500 + "1", "days"),
        ("", "0000019999999", "days"),
        ("", "٣", "days"),
    ],
)
def test_mistake_makes_no_key(admit: Admit, page: str, name: str, days: str, told: str) -> None:
    """And is said."""
    member = admit(Role.MEMBER)
    before = member.get(page).text.count("<tr")
    answer = member.post(page, name=name, kind="write", days=days)
    assert answer.status_code == 422
    assert told in answer.text
    assert member.get(page).text.count("<tr") == before


def test_changes_are_noted_with_who_made_them(admit: Admit, apps: Apps, page: str) -> None:
    """And no secret among them."""
    owner = admit(Role.OWNER)
    key = secret_of(owner.post(page, name="noted", kind="write", days=""))
    for path in reversed(actions(owner, page, key)):
        owner.post(path)
    owner.post(f"/apps/{apps['one']}/people/invite", role="viewer")
    owner.post(f"/apps/{apps['one']}/settings", user_field="user_id", timezone="Europe/Berlin")
    shown = owner.get(f"/apps/{apps['one']}/changes").text
    rows = [row for row in shown.split("<tr>")[1:] if owner.email in row]
    noted = [re.findall(r"<td[^>]*>([^<]*)</td>", row)[2] for row in rows]
    assert noted == [
        "changed the settings",
        "made an invitation",
        "revoked a key",
        "made a key",
        "took an invitation",
        "made an account",
    ]
    assert "Europe/Berlin" in shown
    assert key not in shown


def test_settings_are_kept_and_mistakes_are_told(admit: Admit, apps: Apps) -> None:
    """What was typed is there again."""
    owner, page = admit(Role.OWNER, "two"), f"/apps/{apps['two']}/settings"
    for field, zone, told in (
        ("", "UTC", "parameter"),
        ("id", "Europe", "time zone"),
        ("id", "../etc/passwd", "time zone"),
        ("i\x1bd", "UTC", "parameter"),
    ):
        answer = owner.post(page, user_field=field, timezone=zone)
        assert answer.status_code == 422
        assert told in answer.text
    assert owner.post(page, user_field="email", timezone="Asia/Tokyo").status_code == 303
    shown = owner.get(page).text
    assert 'value="email"' in shown
    assert 'value="Asia/Tokyo"' in shown


def row_of(visitor: Visitor, page: str, key: str) -> str:
    """Return what the list says of a key, as text."""
    row = visitor.get(page).text.partition(key[:11])[2].partition("</tr>")[0]
    return html.unescape(re.sub(r"<[^>]*>|\s+", " ", row))


def test_key_is_made_with_limits_and_its_successor_has_them_too(
    asked: Asked, admit: Admit, page: str
) -> None:
    """On lines or with commas, as people write them; the list shows them as browsers say them."""
    member = admit(Role.MEMBER)
    origins, names = "https://Shop.example/\r\n\r\n https://*.shop.example", "a, page_view\r\n"
    fields = {"kind": "write", "origins": origins, "event_names": names}
    first = secret_of(member.post(page, name="site", days="", **fields))
    second = secret_of(member.post(actions(member, page, first)[0]))
    for key in (first, second):
        wait_for(lambda: send(asked, key, Origin="https://shop.example") == 200)  # noqa: B023
        assert send(asked, key, Origin="https://evil.example") == 403
        assert send(asked, key) == 403
        shown = " ".join(row_of(member, page, key).split())
        assert "send a, page_view from https://shop.example, https://*.shop.example" in shown


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"origins": "shop.example"}, "'shop.example' is no origin"),
        ({"origins": "https://shop.example/page"}, "without a path"),
        ({"origins": "<script>alert(1)</script>"}, "is no origin"),
        ({"origins": "\u202e\x1b"}, r"\u202e\x1b"),
        ({"event_names": "n" * 256}, "is no event's name"),
        ({"event_names": "\n".join(f"n{n}" for n in range(21))}, "20"),
        ({"event_names": "a", "kind": "read"}, "leave them empty"),
    ],
)
def test_limit_that_is_none_is_told_and_typed_text_is_kept(
    admit: Admit, page: str, fields: dict[str, str], told: str
) -> None:
    """No key is made; nothing of it is anything but text."""
    member = admit(Role.MEMBER)
    before = member.get(page).text.count("<tr")
    answer = member.post(page, **{"name": "mine", "days": "30", "kind": "write"} | fields)
    assert answer.status_code == 422
    assert told in html.unescape(answer.text)
    assert 'value="mine"' in answer.text
    (typed,) = (text for name, text in fields.items() if name != "kind")
    assert f">{html.escape(typed)[:4000]}</textarea>" in answer.text.replace("&#39;", "&#x27;")
    assert "<script>alert" not in answer.text
    assert member.get(page).text.count("<tr") == before


def test_names_of_events_are_text_to_the_list(admit: Admit, page: str) -> None:
    """Whatever they are called."""
    member = admit(Role.MEMBER)
    name = "<img src=x onerror=alert(1)>{{7*7}}'\""
    secret_of(member.post(page, name="", kind="write", days="", event_names=name))
    assert html.escape(name).replace("&quot;", "&#34;").replace("&#x27;", "&#39;") in (
        member.get(page).text
    )


def test_last_use_is_shown_in_the_app_s_zone(asked: Asked, admit: Admit, page: str) -> None:
    """As far as it is known."""
    member = admit(Role.MEMBER)
    key = secret_of(member.post(page, name="", kind="write", days=""))
    assert "not yet" in row_of(member, page, key)
    use = "INSERT INTO api_key_uses VALUES ($1, '2026-01-10 12:34:56Z')"
    asyncio.run(fetch(asked.database_url, use, digest(key)))
    assert "2026-01-10 " in row_of(member, page, key)


def test_colour_of_an_app_is_chosen_from_eight(admit: Admit, apps: Apps) -> None:
    """Without a choice it goes by the app's number; it is seen beside its name."""
    owner, page = admit(Role.OWNER, "two"), f"/apps/{apps['two']}/settings"
    fields = {"user_field": "user_id", "timezone": "UTC"}
    usual = COLOURS[(apps["two"] - 1) % len(COLOURS)]
    for path in ("/apps", page):
        assert f'class="dot {usual}"' in owner.get(path).text
    for bad in ("", "black", "red blue", '"><script>'):
        answer = owner.post(page, colour=bad, **fields)
        assert answer.status_code == 422
        assert "<script>" not in answer.text
    for colour in COLOURS:
        assert owner.post(page, colour=colour, **fields).status_code == 303
        assert f'<b><span class="dot {colour}"' in owner.get(page).text
        assert f'value="{colour}" checked' in owner.get(page).text
        assert f'<li><span class="dot {colour}"' in owner.get("/apps").text
    assert owner.post(page, **fields).status_code == 303
    assert f'<b><span class="dot {COLOURS[-1]}"' in owner.get(page).text


def test_every_colour_is_seen_on_light_and_on_dark() -> None:
    """Three to one, as WCAG asks of what is no text (1.4.11)."""
    styles = read(COMMON).decode() + DASHBOARD_CSS.read_text()
    dots = dict(re.findall(r"\.dot\.([a-z]+) \{ background: (#[0-9a-f]{6}); \}", styles))
    assert set(dots) == set(COLOURS)
    papers = re.findall(r"--(?:paper|raised|tint): (#[0-9a-f]{6});", styles)
    assert len(papers) == 6
    for name, colour in dots.items():
        assert min(contrast(colour, paper) for paper in papers) >= 3, name


def contrast(one: str, other: str) -> float:
    """Return that of two colours."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    """Return it as WCAG defines it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [
        each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in parts
    ]
    return sum(share * each for share, each in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


LIMITS = {
    "events_per_second": "1,000",
    "events_burst": "",
    "events_per_day": "5000",
    "bytes_per_second": "",
    "bytes_per_day": "2 GiB",
}


def test_limits_of_an_app_are_set_shown_and_noted(
    asked: Asked, admit: Admit, apps: Apps, page: str
) -> None:
    """By its owners; a mistake is told, and what was typed is there again."""
    owner, limits = admit(Role.OWNER), f"/apps/{apps['one']}/limits"
    key = secret_of(owner.post(page, name="", kind="write", days=""))
    wait_for(lambda: send(asked, key) == 200)
    wrong = owner.post(limits, **(LIMITS | {"events_per_day": "many"}))
    assert wrong.status_code == 422
    assert "events per day" in wrong.text
    assert 'value="many"' in wrong.text
    assert admit(Role.MEMBER).post(limits, **LIMITS).status_code == 403
    assert owner.post(limits, **LIMITS).status_code == 303
    shown = admit(Role.VIEWER).get(limits).text
    for value in ("1000", "5000", str(2 << 30)):
        assert f'value="{value}"' in shown
    assert "Used today" in shown
    assert "<button>Save" not in shown
    noted = owner.get(f"/apps/{apps['one']}/changes").text
    assert "1,000 events a second, 5,000 events a day, 2,147,483,648 bytes a day" in noted
    assert owner.post(limits, **dict.fromkeys(LIMITS, "")).status_code == 303
    assert "Used today" not in owner.get(limits).text


def test_limits_of_a_key_hold_and_go_on_with_the_one_in_its_place(
    asked: Asked, admit: Admit, page: str
) -> None:
    """Within a second or so; members see them, and can't raise them."""
    owner, member = admit(Role.OWNER), admit(Role.MEMBER)
    key = secret_of(member.post(page, name="", kind="write", days=""))
    (limits,) = re.findall(
        r'href="([^"]+/limits)"', owner.get(page).text.partition(key[:11])[2].partition("</tr>")[0]
    )
    assert member.post(limits, events_per_day="1").status_code == 403
    assert owner.post(limits, events_per_day="1").status_code == 303
    assert "at most 1 events a day" in row_of(member, page, key)
    wait_for(lambda: send(asked, key) == 429)
    after = secret_of(member.post(actions(member, page, key)[0]))
    assert "at most 1 events a day" in row_of(member, page, after)
    other = limits.replace(f"/apps/{page.split('/')[2]}/", "/apps/999/")
    assert owner.get(other).status_code == 404
    owner.post(actions(owner, page, key)[1])
    assert owner.get(limits).status_code == 404
