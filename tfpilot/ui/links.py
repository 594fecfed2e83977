"""Links that stored documents and GitHub name: to GitHub, and nowhere else."""

from __future__ import annotations

from typing import Final

from tfpilot.ui import shell, words

_GITHUB: Final = "github.com"
_API: Final = "api."


def link(label: str, url: str | None) -> str:
    """A link on the escaped label, where the address is one of GitHub's; else the label alone."""
    return words.link(label, url) if leads_to_github(url) else words.plain(label)


def leads_to_github(url: str | None) -> bool:
    """Whether the address is on github.com, or on the GitHub that the portal works with."""
    host = words.host_of(url)
    return host is not None and host in {_GITHUB, _own_host()}


def _own_host() -> str | None:
    """The host of the portal's GitHub, as its pages are reached: the API of github.com has one of its own."""
    host = words.host_of(shell.portal().place.github_url)
    return None if host is None else host.removeprefix(_API)
