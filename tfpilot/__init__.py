"""TfPilot Ops: the rules and operations behind the operators' portal.

What other code of ours uses of the run index (SPEC §5) is exported here.
"""

from __future__ import annotations

from tfpilot.core.run_guard import patch_workflow_run
from tfpilot.operations.run_index import (
    get_request_id_by_destroy_run_id_indexed,
    get_request_id_by_run_id,
    put_destroy_run_index,
    put_run_index,
)

__all__ = [
    "get_request_id_by_destroy_run_id_indexed",
    "get_request_id_by_run_id",
    "patch_workflow_run",
    "put_destroy_run_index",
    "put_run_index",
]
