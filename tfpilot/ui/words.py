"""Text for pages. What comes from documents, GitHub or a URL is data: escaped or shown as code, never markup."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

NOTHING: Final = "\u2013"
"""What stands in a cell to which a column does not apply."""

_PUNCTUATION: Final = re.compile(r"([!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~])")
# What Markdown renderers turn into links, icons or emoji after escapes are resolved: a colon, an at sign, "www.".
_SELF_LINKING: Final = re.compile(r"(\\:|\\@|\\#|www)", re.IGNORECASE)
_WORD_JOINER: Final = "\u2060"
_INVISIBLE: Final = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
# Neither a login nor a backslash before the path: browsers and parsers do not agree where such an address leads.
_WEB_ADDRESS: Final = re.compile(r"https?://(?P<host>[A-Za-z0-9.-]+)(?::[0-9]+)?(?:[/?#][!-~]*)?")
_MINUTE: Final = 60
_HOUR: Final = 3600
_DAY: Final = 24 * _HOUR


def visible(text: object) -> str:
    """The text on one line where nothing reads it as Markdown, with a mark for each character that cannot be seen."""
    return _INVISIBLE.sub("�", " ".join(str(text).split()))


def plain(text: object) -> str:
    """The text as itself inside Markdown: no markup, link, icon, formula, HTML or control character comes of it."""
    return _SELF_LINKING.sub(rf"\1{_WORD_JOINER}", _PUNCTUATION.sub(r"\\\1", visible(text)))


def code(text: object, *, longest: int = 80) -> str:
    """The text as inline code, cut after `longest` characters; for what a person may copy."""
    flat = visible(text)
    if len(flat) > longest:
        flat = f"{flat[:longest]}…"
    if not flat:
        return ""
    fence = "`" * (max((len(run) for run in re.findall("`+", flat)), default=0) + 1)
    padding = " " if flat.startswith("`") or flat.endswith("`") else ""
    return f"{fence}{padding}{flat}{padding}{fence}"


def link(label: str, url: str | None) -> str:
    """A link on the escaped label, where the address is one of the web; else the label alone."""
    if not is_web_address(url):
        return plain(label)
    target = "".join(f"%{ord(char):02X}" if char in "<>()[]\\`\"' |" else char for char in str(url))
    return f"[{plain(label)}]({target})"


def is_web_address(url: str | None) -> bool:
    """Whether the text may become a link: http or https, printable, one word."""
    return url is not None and re.fullmatch(r"https?://[!-~]+", url) is not None


def host_of(url: str | None) -> str | None:
    """The host that a browser takes the address to, in lower case; None for anything but a plain web address."""
    found = _WEB_ADDRESS.fullmatch(url or "")
    return found["host"].lower() if found else None


def number(count: int) -> str:
    """1,558"""
    return f"{count:,}"


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """`1 field`, `7 fields`."""
    return f"{number(count)} {noun if count == 1 else plural or noun + 's'}"


def lasting(length: timedelta) -> str:
    """`8 s`, `41 min`, `2 h 52 min`, `12 days`. What is negative by a clock's difference counts as nothing."""
    seconds = max(0, int(length.total_seconds()))
    if seconds < _MINUTE:
        return f"{seconds} s"
    if seconds < _HOUR:
        return f"{seconds // _MINUTE} min"
    if seconds < 2 * _DAY:
        hours, minutes = seconds // _HOUR, seconds % _HOUR // _MINUTE
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{number(seconds // _DAY)} days"


def clock_time(at: datetime, now: datetime) -> str:
    """The time of day in UTC, with the date where it is not today: `11:43`, `5 Mar 11:43`, `5 Mar 2025 11:43`."""
    at, now = at.astimezone(UTC), now.astimezone(UTC)
    if at.date() == now.date():
        return f"{at:%H:%M}"
    year = "" if at.year == now.year else f" {at.year}"
    return f"{at.day} {at:%b}{year} {at:%H:%M}"


def sentence(text: str) -> str:
    """The text with a capital first letter and a full stop."""
    trimmed = text.strip()
    end = "" if trimmed.endswith((".", "!", "?")) else "."
    return f"{trimmed[:1].upper()}{trimmed[1:]}{end}" if trimmed else ""
