"""Who came in, from what a provider or a proxy tells."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import NOW
from tfpilot.core.model import NEVER, Door, Operator, Role
from tfpilot.core.roles import role_of
from tfpilot.core.sign_in import (
    FRESH_FOR,
    LONGEST,
    MOST_AHEAD,
    check_fresh,
    is_listed,
    login_from_proxy,
    login_in,
    read_claims,
    sign_in_key,
)
from tfpilot.errors import ProxyError, RefusedError, SignInError

SECRET = "a-secret-of-the-proxy"
SECOND = timedelta(seconds=1)


def claims(at: datetime = NOW, **changes: Any) -> dict[str, Any]:
    told = {
        "sub": "u-1",
        "iat": int(at.timestamp()),
        "auth_time": int(at.timestamp()),
        "nonce": "n",
        "at_hash": "h",
        "preferred_username": "Maya-K",
    }
    return {**told, **changes}


def read(told: dict[str, Any], now: datetime = NOW):
    return read_claims(told, login_claim="preferred_username", now=now)


def test_a_sign_in_tells_the_login_and_when_it_was():
    at = NOW.replace(microsecond=0)
    assert (read(claims(at)).login, read(claims(at)).at) == ("Maya-K", at)


def test_a_sign_in_counts_for_twelve_hours_and_no_longer():
    at = NOW.replace(microsecond=0)
    assert read(claims(at), now=at + LONGEST).login == "Maya-K"
    with pytest.raises(SignInError, match="older than 12 hours"):
        read(claims(at), now=at + LONGEST + SECOND)


def test_a_provider_whose_clock_is_a_little_ahead_is_believed_and_one_far_ahead_is_not():
    at = NOW.replace(microsecond=0)
    assert read(claims(at), now=at - MOST_AHEAD).login == "Maya-K"
    with pytest.raises(SignInError, match="in the future"):
        read(claims(at), now=at - MOST_AHEAD - SECOND)


@pytest.mark.parametrize(
    "iat", [None, "", "1700000000", True, [], {}, float("nan"), float("inf"), 1e300, -1e300, 10**40]
)
def test_a_time_that_is_missing_or_unreadable_counts_as_too_long_ago(iat):
    with pytest.raises(SignInError, match="does not tell when it was made"):
        read(claims(iat=iat))
    without = claims()
    del without["iat"]
    with pytest.raises(SignInError):
        read(without)


def test_who_is_known_from_an_earlier_visit_has_signed_in_when_they_proved_who_they_are():
    at = NOW.replace(microsecond=0)
    earlier = at - timedelta(hours=1)
    assert read(claims(at, auth_time=int(earlier.timestamp()))).at == earlier
    assert read(claims(at, auth_time=int((at + timedelta(hours=1)).timestamp()))).at == at
    assert read(claims(at, auth_time="yesterday")).at == NEVER
    told = claims(at)
    del told["auth_time"]
    assert read(told).at == at


@pytest.mark.parametrize(
    "value", [None, "", " ", "two words", "a\nb", "x" * 101, 7, True, ["maya-k"], {"a": 1}, "\u212a-lead"]
)
def test_what_cannot_be_a_login_is_nobody(value):
    assert login_in(value) == ""
    assert read(claims(preferred_username=value)).login == ""


def test_a_letter_that_only_folds_to_another_makes_nobody_an_admin():
    assert role_of("ma\u017f-k", admins="mas-k", approvers="") is Role.ADMIN  # why such a login must not get that far
    assert role_of(login_in("ma\u017f-k"), admins="mas-k", approvers="") is Role.VIEWER


@given(
    st.dictionaries(
        st.sampled_from(["sub", "iat", "auth_time", "nonce", "at_hash", "preferred_username", "is_logged_in"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
            max_leaves=3,
        ),
    )
)
def test_claims_of_any_shape_are_read_or_refused(told):
    try:
        who = read(told)
    except SignInError:
        return
    assert NOW - LONGEST <= datetime.fromtimestamp(told["iat"], UTC) <= NOW + MOST_AHEAD
    assert who.at <= NOW + MOST_AHEAD
    assert who.login in {told.get("preferred_username"), ""}


@given(st.text(max_size=120))
def test_a_login_is_printable_ascii_or_nobody(text):
    login = login_in(text)
    assert login == "" or (login == text and text.isascii() and text.isprintable() and " " not in text)


def test_each_sign_in_has_a_key_of_its_own_which_tells_nothing():
    key = sign_in_key(claims())
    others = [claims(sub="u-2"), claims(NOW + SECOND), claims(nonce="m"), claims(at_hash="i"), {}, claims(sub="u-1|")]
    assert len({key, *(sign_in_key(other) for other in others)}) == 7
    assert key == sign_in_key({**claims(), "name": "another"})
    assert len(key) == 64


def test_the_header_of_the_proxy_counts_with_its_secret_alone():
    assert login_from_proxy(["Maya-K"], [SECRET], secret=SECRET) == "Maya-K"
    for given_secrets in (
        [],
        [""],
        [SECRET[:-1]],
        [f"{SECRET} "],
        [SECRET.upper()],
        [SECRET, SECRET],
        ["\u00e9\ud800"],
    ):
        with pytest.raises(ProxyError, match="only through its proxy"):
            login_from_proxy(["Maya-K"], given_secrets, secret=SECRET)
    with pytest.raises(ProxyError):
        login_from_proxy(["Maya-K"], [""], secret="")


def test_a_proxy_that_adds_to_what_a_visitor_sent_is_not_believed():
    with pytest.raises(ProxyError, match="several people"):
        login_from_proxy(["ops-lead", "maya-k"], [SECRET], secret=SECRET)
    assert login_from_proxy([], [SECRET], secret=SECRET) == ""
    assert login_from_proxy(["ops-lead, maya-k"], [SECRET], secret=SECRET) == ""


@pytest.mark.parametrize(
    ("login", "allowed", "is_in"),
    [
        ("maya-k", {"maya-k"}, True),
        ("Maya-K", {"maya-k"}, True),
        ("maya-k", {"MAYA-K"}, True),
        ("maya", {"maya-k"}, False),
        ("maya-k", set(), False),
        ("anybody", {"*"}, True),
        ("", {"*"}, True),
        ("", {"", "maya-k"}, False),
        ("*", {"maya-k"}, False),
    ],
)
def test_who_is_listed_comes_in_whatever_the_case(login, allowed, is_in):
    assert is_listed(login, allowed) is is_in


def test_a_sign_in_is_fresh_for_ten_minutes():
    operator = Operator("ops-lead", Role.ADMIN, Door.PAGE, signed_in_at=NOW)
    check_fresh(operator, NOW + FRESH_FOR)
    with pytest.raises(RefusedError, match="needs a fresh one") as caught:
        check_fresh(operator, NOW + FRESH_FOR + SECOND)
    assert "Sign in again" in caught.value.hint


@pytest.mark.parametrize("door", list(Door))
def test_who_did_not_sign_in_on_a_page_is_not_asked_for_a_fresh_one(door):
    check_fresh(Operator("ops-lead", Role.ADMIN, door), NOW)
    if door is not Door.PAGE:
        check_fresh(Operator("ops-lead", Role.ADMIN, door, signed_in_at=NEVER), NOW)
