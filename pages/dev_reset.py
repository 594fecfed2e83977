"""Dev reset: a wizard that removes a dev environment's state, requests and index entries, and puts them back."""

from __future__ import annotations

from tfpilot.ui import (
    reset_address,
    reset_approve,
    reset_confirm_view,
    reset_empty,
    reset_header,
    reset_review,
    reset_scope,
    reset_stored,
    shell,
)
from tfpilot.ui.reset_desk import Step, desk

shell.configure_page("Dev reset · TfPilot Ops")
edges, here = shell.portal().edges, desk()
reset_address.read_address(edges.resets.targets)
reset_header.settle(here, here.collect(edges.clock()))
reset_id, digest = reset_address.reset_id(), reset_address.digest_to_approve()

step = reset_stored.step_of(edges, here, reset_id) if reset_id else here.step
reset_header.show(edges, here, Step.CONFIRM if digest and not reset_id else step)
reset_header.show_progress(here)
if reset_id:
    reset_stored.show(edges, here, reset_id)
elif not edges.resets.targets:
    reset_empty.show()
elif digest:
    reset_approve.show(edges, here, digest)
elif here.made is None or here.step is Step.SCOPE:
    reset_scope.show(edges, here)
elif here.step is Step.REVIEW:
    reset_review.show(edges, here, here.made)
else:
    reset_confirm_view.show(edges, here, here.made)
reset_address.write_address()
