"""Whose run or pull request it is, from the ids that stand in branches and titles."""

from __future__ import annotations

import re
from typing import Final

from tfpilot.core.document import is_request_id

_TOKEN: Final = re.compile(r"(?<![A-Za-z0-9_])req_[a-z0-9_]+(?![A-Za-z0-9_])")
_BRANCH: Final = re.compile(r"(?:refs/heads/)?(?:(?:request|cleanup)/([^/]+)|update/([^/]+)/rev-\d+)")


def named_requests(text: str | None) -> tuple[str, ...]:
    """Every request id that stands in the text as a whole word, in order, each once."""
    return tuple(dict.fromkeys(token for token in _TOKEN.findall(text or "") if is_request_id(token)))


def bare_branch(branch: str | None) -> str:
    """The branch by its short name, as it may also stand behind `refs/heads/`; empty where there is none."""
    return (branch or "").removeprefix("refs/heads/")


def request_of_branch(branch: str | None) -> str | None:
    """The id in `request/<id>`, `cleanup/<id>` or `update/<id>/rev-N`; None for any other branch."""
    match = _BRANCH.fullmatch(branch or "")
    if match is None:
        return None
    request_id: str = match[1] or match[2]
    return request_id if is_request_id(request_id) else None


def names_request(text: str | None, request_id: str) -> bool:
    """Whether the text names the request as a whole word: `req_a` is not named by `req_a_b`."""
    return request_id in named_requests(text)


def find_other_owner(*, branch: str | None, title: str | None, request_id: str) -> str | None:
    """The other request that a run or pull request belongs to; None where it is ours or says nothing.

    The branch decides where it holds an id; a title that names us and others is ours.
    """
    owner = request_of_branch(branch)
    if owner is not None:
        return None if owner == request_id else owner
    named = named_requests(title)
    return None if not named or request_id in named else named[0]
