"""Who approves a request: the web app's own approvals and the voices of GitHub's reviewers (SPEC §4)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from tfpilot.core.model import Approval, Review

APPROVED: Final = "APPROVED"
CHANGES_REQUESTED: Final = "CHANGES_REQUESTED"
DISMISSED: Final = "DISMISSED"
_DECISIVE: Final = frozenset({APPROVED, CHANGES_REQUESTED, DISMISSED})
_OLDEST: Final = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What stored approval and reviews come to. `approvers`: everybody who approves, known ones first."""

    approved: bool
    approvers: tuple[str, ...]
    reviews: Mapping[str, Review]
    reason: str


def latest_voices(reviews: Iterable[Review], *, author: str | None) -> Mapping[str, Review]:
    """The review of each person that counts, by login: the latest that approves, objects or was dismissed.

    Comments and pending reviews do not count, nor does the author's own. Logins compare case-insensitively.
    """
    latest: dict[str, Review] = {}
    for review in reviews:
        person = review.login.casefold()
        if review.state.upper() not in _DECISIVE or (author is not None and person == author.casefold()):
            continue
        known = latest.get(person)
        if known is None or _order(review) > _order(known):
            latest[person] = review
    return {review.login: review for review in latest.values()}


def weigh(
    stored: Approval, reviews: Iterable[Review], *, author: str | None, merged: bool, since: datetime | None = None
) -> Verdict:
    """Whether the request is approved: somebody approves and nobody requests changes.

    A stored approver who spoke on GitHub is GitHub's voice; the others are the web app's own approvals, as is an
    approval that names nobody, until a reviewer speaks. After the merge an approval is not withdrawn. Stored
    reviews from before `since`, when the current revision began, do not count any more.
    """
    outdated = {login for login, review in stored.reviews.items() if _is_before(review, since)}
    current = [review for login, review in stored.reviews.items() if login not in outdated]
    voices = latest_voices([*current, *reviews], author=author)
    spoke = {login.casefold() for login in [*voices, *outdated]}
    on_github = sorted(login for login, review in voices.items() if review.state.upper() == APPROVED)
    approving_there = {login.casefold() for login in on_github}
    objecting = sorted(login for login, review in voices.items() if review.state.upper() == CHANGES_REQUESTED)
    own = [login for login in stored.approvers if login.casefold() not in spoke]
    still = tuple(login for login in stored.approvers if login in own or login.casefold() in approving_there)
    unnamed = stored.approved and not stored.approvers and not spoke
    approving = len(own) + len(on_github) + unnamed
    kept = merged and stored.approved
    approvers = (stored.approvers if kept else still) + _new(on_github, stored.approvers)
    reason = f"{approving} approving, {_who(objecting)} requesting changes{', kept after the merge' if kept else ''}"
    return Verdict(kept or (approving > 0 and not objecting), approvers, voices, reason)


def _is_before(review: Review, since: datetime | None) -> bool:
    return since is not None and review.submitted_at is not None and review.submitted_at < since


def _order(review: Review) -> tuple[datetime, int, str]:
    """Newest last; a dismissal keeps the time of the review it dismisses, so it wins a tie."""
    return (review.submitted_at or _OLDEST, review.state.upper() == DISMISSED, review.state.upper())


def _new(logins: Iterable[str], known: Iterable[str]) -> tuple[str, ...]:
    folded = {login.casefold() for login in known}
    return tuple(login for login in logins if login.casefold() not in folded)


def _who(logins: list[str]) -> str:
    return ", ".join(logins) if logins else "nobody"
