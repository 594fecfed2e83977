"""How numbers, times and foreign text are written on pages."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.builders import NOW
from tfpilot.ui import words


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("core", "core"),
        ("**x**", r"\*\*x\*\*"),
        ("<b>x</b>", r"\<b\>x\<\/b\>"),
        ("[a](b)", r"\[a\]\(b\)"),
        ("$x$", r"\$x\$"),
        ("a`b", r"a\`b"),
        ("two\nlines", "two lines"),
        ("bell\x07", "bell�"),
        ("turned\u202eround", "turned�round"),
        ("half\ud800", "half�"),
    ],
)
def test_foreign_text_becomes_no_markup(text, written):
    assert words.plain(text) == written


@pytest.mark.parametrize("text", ["https://evil.test", "www.evil.test", "me@evil.test", ":red[x]", ":material/delete:"])
def test_what_would_become_a_link_or_an_icon_by_itself_is_broken_up_invisibly(text):
    written = words.plain(text)
    assert "\u2060" in written
    assert written.replace("\\", "").replace("\u2060", "") == text


@pytest.mark.parametrize(
    ("text", "written"),
    [("planRun", "`planRun`"), ("a`b", "``a`b``"), ("`", "`` ` ``"), ("", ""), ("x\ny", "`x y`")],
)
def test_foreign_text_cannot_leave_its_code(text, written):
    assert words.code(text) == written


def test_long_code_is_cut():
    assert words.code("a" * 100, longest=5) == "`aaaaa…`"


@pytest.mark.parametrize(
    "address",
    ["javascript:alert(1)", "data:text/html,x", "//evil", "http://a b", "https://x\n", "", None, "ftp://x", "HTTPS:x"],
)
def test_only_web_addresses_become_links(address):
    assert words.link("PR", address) == "PR"


def test_a_link_cannot_leave_its_brackets():
    assert words.link("a]b", "https://x/(y)") == r"[a\]b](https://x/%28y%29)"


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("https://github.com", "github.com"),
        ("HTTPS://github.com/", None),
        ("https://GitHub.com/a/b/pull/7?x#y", "github.com"),
        ("http://127.0.0.1:8080/x", "127.0.0.1"),
        ("https://github.com@evil.test/x", None),
        ("https://evil.test\\@github.com/x", None),
        ("https://github.com/\u202e", None),
        ("https://github.com/x\n", None),
        ("javascript:alert(1)//github.com", None),
        ("//github.com/x", None),
        (None, None),
    ],
)
def test_the_host_of_an_address_is_the_one_a_browser_goes_to(address, host):
    assert words.host_of(address) == host


@pytest.mark.parametrize(
    ("length", "written"),
    [
        (timedelta(seconds=-5), "0 s"),
        (timedelta(seconds=59, milliseconds=999), "59 s"),
        (timedelta(minutes=1), "1 min"),
        (timedelta(minutes=59, seconds=59), "59 min"),
        (timedelta(hours=2, minutes=52), "2 h 52 min"),
        (timedelta(hours=3), "3 h"),
        (timedelta(hours=48), "2 days"),
        (timedelta(days=1204), "1,204 days"),
    ],
)
def test_a_length_of_time_is_written_as_a_person_would(length, written):
    assert words.lasting(length) == written


def test_a_time_names_its_day_only_where_it_is_not_today():
    assert words.clock_time(NOW, NOW) == "12:00"
    assert words.clock_time(NOW - timedelta(days=1), NOW) == "1 Mar 12:00"
    assert words.clock_time(NOW - timedelta(days=365), NOW) == "2 Mar 2025 12:00"


def test_counts_are_written_with_their_noun():
    assert words.counted(1, "field") == "1 field"
    assert words.counted(1558, "request") == "1,558 requests"
    assert words.counted(2, "entry", "entries") == "2 entries"
