"""The empty states that Terraform makes by itself: in a named workspace without a state, `init` or `plan` is enough.

Nobody applied anything there, so an undo takes such a state away and puts the old one in its place.
"""

from __future__ import annotations

from dataclasses import dataclass

from tfpilot.core.reset_plan import sha256_of
from tfpilot.core.reset_steps import Action, Found, Phase, Place, ResetStep, Store
from tfpilot.core.reset_target import ResetTarget
from tfpilot.core.terraform import digest_id, md5_of
from tfpilot.core.terraform_state import is_of_new_workspace
from tfpilot.edges import ResetStore


@dataclass(frozen=True, slots=True)
class UnusedState:
    """An empty state and its digest, each as it was found. `digest` None: it has none."""

    place: Place
    state: Found
    digest: str | None
    digest_place: Place


def find_unused(store: ResetStore, target: ResetTarget, step: ResetStep) -> UnusedState | None:
    """The unused state that keeps a step from putting back a state that was removed, or its digest item.

    None where there is no such state, where somebody used it, or where its digest is of something else. Raises
    StorageError or DocumentError.
    """
    if step.action is not Action.RESTORE or step.before is not None or step.phase not in {Phase.STATE, Phase.DIGEST}:
        return None
    place = Place(Store.STATE_BUCKET, step.subject)
    read = store.read(place)
    if read is None or not is_of_new_workspace(read.content):
        return None
    digest = store.find_digest(step.subject) if target.lock_mode.has_table else None
    if digest is not None and digest != md5_of(read.content):
        return None
    found = Found(sha256_of(read.content), read.etag, read.version_id)
    return UnusedState(place, found, digest, Place(Store.LOCK_TABLE, digest_id(target.bucket, step.subject)))


def take_away(store: ResetStore, unused: UnusedState) -> None:
    """Removes it, the digest first: Terraform refuses a digest without its state. Raises ConflictError (somebody uses
    it by now) or StorageError."""
    if unused.digest is not None:
        store.remove(unused.digest_place, found=Found(unused.digest, unused.digest))
    store.remove(unused.place, found=unused.state)
