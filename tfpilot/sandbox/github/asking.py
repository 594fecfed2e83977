"""One REST call as its endpoint sees it, and what it answers with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

from tfpilot.sandbox.github.render import Renderer
from tfpilot.sandbox.github.state import User

T = TypeVar("T")

PER_PAGE_DEFAULT: Final = 30
PER_PAGE_MAX: Final = 100


class ProblemError(Exception):
    """The call is answered with an error, or sent somewhere else, by `status`."""

    def __init__(self, status: int, message: str, *, location: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.location = location


@dataclass(frozen=True, slots=True)
class Asked:
    """One call by a signed-in user. `api_url` is the address of the stand-in as the caller wrote it."""

    method: str
    path: str
    api_url: str
    place: Mapping[str, Any]
    query: Mapping[str, str]
    body: Mapping[str, Any]
    user: User
    render: Renderer

    def flag(self, name: str) -> bool:
        return self.query.get(name, "").lower() in {"true", "1"}

    def number(self, name: str, default: int) -> int:
        """A query parameter that counts, the default where it is no positive number."""
        text = self.query.get(name, "")
        return int(text) if text.isascii() and text.isdigit() and int(text) > 0 else default


@dataclass(frozen=True, slots=True)
class Reply:
    """A JSON answer; no body at all where `payload` is None."""

    payload: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


def page_of(items: Sequence[T], asked: Asked) -> tuple[Sequence[T], dict[str, str]]:
    """The items of the page asked for, and the header that leads to the other pages."""
    size = min(asked.number("per_page", PER_PAGE_DEFAULT), PER_PAGE_MAX)
    page, last = asked.number("page", 1), max(-(-len(items) // size), 1)
    rels: dict[str, int] = {}
    if page > 1:
        rels |= {"prev": min(page - 1, last), "first": 1}
    if page < last:
        rels |= {"next": page + 1, "last": last}
    links = (
        f'<{asked.api_url}{asked.path}?{urlencode({**asked.query, "page": number})}>; rel="{rel}"'
        for rel, number in rels.items()
    )
    return items[(page - 1) * size : page * size], {"link": ", ".join(links)} if rels else {}
