"""Log lines: one JSON object per event on standard error, without secrets.

Everybody logs through `structlog.get_logger("tfpilot.<module>")`: an event in a few words, its facts as keys. What
`structlog.contextvars.bound_contextvars(request_id=…, operator=…)` binds is on every line until its block ends.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from tfpilot.core.dispatch import DispatchResult
from tfpilot.core.index_fixes import FixReport, IndexMark
from tfpilot.core.lock_release import Released
from tfpilot.core.model import FieldChange, Operator, SyncResult
from tfpilot.core.reset_receipt import Receipt

MASK: Final = "***"
_KEYS_LOGGED: Final = 100

_LEAST: Final[Mapping[str, int]] = MappingProxyType(
    {
        # At DEBUG, PyGithub and botocore print bodies, and the HTTP libraries print headers.
        "github": logging.INFO,
        "boto3": logging.WARNING,
        "botocore": logging.WARNING,
        "s3transfer": logging.WARNING,
        # Its warnings tell of every retry; what came of them is ours to say.
        "urllib3": logging.ERROR,
        "httpcore": logging.WARNING,
        "httpx": logging.WARNING,
        # Warns whenever a route touches one of Streamlit's caches, which is harmless.
        "streamlit.runtime.scriptrunner_utils.script_run_context": logging.ERROR,
    }
)

_SECRET_KEY: Final = re.compile(
    r"(?:^|[_.-])(?:authorization|cookie|token|secret|password|private[_-]?key|secret[_-]access[_-]key|signature)$",
    re.IGNORECASE,
)

_WORD: Final = r"[^\s\"'\\,;&]+"
# Without word boundaries at the front: in a finished line, what begins a line of its own follows the n of \\n.
_TOKEN: Final = re.compile(
    rf"""
      gh[pousr]_[\w.-]{{8,}}                                       # GitHub, every kind of token
    | github_pat_\w{{8,}}
    | (?:AKIA|ASIA)[A-Z0-9]{{16}}                                  # AWS access key
    | eyJ[\w-]{{8,}}\.[\w-]+\.[\w-]*                              # signed JSON web token
    | -----BEGIN\ [A-Z ]*PRIVATE\ KEY-----[^"]*?(?:-----END\ [A-Z ]*PRIVATE\ KEY-----|(?=")|$)
    | (?<=(?i:bearer\ )){_WORD} | (?<=Basic\ )[A-Za-z0-9+/]{{8,}}=* | (?<=(?i:authorization:\ token\ )){_WORD}
    | (?<=X-Amz-Signature=){_WORD} | (?<=X-Amz-Security-Token=){_WORD}
    | (?<=access_token=){_WORD} | (?<=client_secret=){_WORD} | (?<=secret_access_key=){_WORD}
    | (?<=://)[^\s/:@"'\\]+:[^\s/@"'\\]+(?=@)                    # user:password@host
    """,
    re.VERBOSE,
)


def log_sync(result: SyncResult, operator: Operator) -> None:
    """One line for a sync that wrote, with who asked and which fields changed; none for one that wrote nothing."""
    if not result.wrote:
        return
    structlog.get_logger("tfpilot.sync").info(
        "request written",
        request_id=result.plan.request_id,
        operator=operator.login,
        mode=result.mode.value,
        fields=[change.dotted for change in result.plan.changes],
        beside=[type(step).__name__ for step in result.done],
        status_before=result.plan.status_before.value,
        status_after=result.plan.status_after.value,
    )


def log_dispatch(result: DispatchResult, operator: Operator) -> None:
    """One line for what a dispatch, or the search for its run, came to."""
    structlog.get_logger("tfpilot.dispatch").info(
        "dispatch",
        request_id=result.request_id,
        operator=operator.login,
        kind=result.kind.value,
        end=result.end.value,
        run_id=result.run_id,
        reason=result.reason,
        notices=list(result.notices),
    )


def log_changes(what: str, request_id: str, changes: Iterable[FieldChange], operator: Operator) -> None:
    """One line for a write to a request that is neither a sync nor a dispatch, with the fields it changed."""
    fields = [change.dotted for change in changes]
    structlog.get_logger("tfpilot.write").info(
        "request written", what=what, request_id=request_id, operator=operator.login, fields=fields
    )


def log_refusal(what: str, request_id: str, operator: Operator, reason: str) -> None:
    """One line for what was refused, and why."""
    structlog.get_logger("tfpilot.refusal").info(
        "refused", what=what, request_id=request_id, operator=operator.login, reason=reason
    )


def log_index_fix(what: str, report: FixReport, operator: Operator) -> None:
    """One line for a fix of the run index, or its undo, with what became of each key."""
    structlog.get_logger("tfpilot.run_index").info(
        what,
        fix_id=report.fix_id,
        operator=operator.login,
        outcomes={result.key: result.outcome.value for result in report.results[:_KEYS_LOGGED]},
        steps=len(report.results),
    )


def log_reset(what: str, receipt: Receipt, operator: Operator) -> None:
    """One line for one turn at a reset, with how far it came."""
    structlog.get_logger("tfpilot.reset").info(
        what,
        reset_id=receipt.record.reset_id,
        target=receipt.record.target,
        operator=operator.login,
        stage=receipt.stage.value,
        reason=receipt.record.reason,
        done=len(receipt.done),
        undone=len(receipt.undone),
        left=len(receipt.kept),
    )


def log_index_mark(mark: IndexMark) -> None:
    """One line for a finding of the run index that is ignored from now on, or not any more."""
    structlog.get_logger("tfpilot.run_index").info(
        "finding ignored" if mark.ignored else "finding not ignored any more",
        code=mark.code,
        place=mark.key,
        operator=mark.by,
        reason=mark.reason,
    )


def log_lock_release(released: Released, operator: Operator) -> None:
    """One line for a Terraform lock that was released by hand, with what became of each of its places."""
    lock = released.record.judged.lock
    structlog.get_logger("tfpilot.locks").info(
        "lock released",
        target=lock.target,
        state=lock.object_key,
        lock_id=lock.handle,
        verdict=released.record.judged.verdict.value,
        operator=operator.login,
        reason=released.record.reason,
        outcomes={str(part.place): part.outcome.value for part in released.parts},
        record=released.record_key,
    )


def log_lock_refusal(target: str, object_key: str, operator: Operator, reason: str) -> None:
    """One line for a Terraform lock that was not released, and why."""
    structlog.get_logger("tfpilot.locks").info(
        "lock not released", target=target, state=object_key, operator=operator.login, reason=reason
    )


def configure(level: str) -> None:
    """From now on, events of ours and of every library that logs to the root go to standard error, one line each.

    `level` is a name such as INFO, the least that is shown; a few libraries are kept quieter. May be called again.
    """
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_facts(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    root = logging.getLogger()
    for earlier in [handler for handler in root.handlers if isinstance(handler, _StderrHandler)]:
        root.removeHandler(earlier)
    root.addHandler(_StderrHandler())
    root.setLevel(level)
    for name, least in _LEAST.items():
        logging.getLogger(name).setLevel(max(least, root.level))


def masked(text: str) -> str:
    """The text with everything masked that looks like a token, a key or a password in a URL."""
    return _TOKEN.sub(MASK, text)


def _facts() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
    ]


def _mask_by_key(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return {key: MASK if _SECRET_KEY.search(key) else value for key, value in event.items()}


class _MaskedJson(structlog.stdlib.ProcessorFormatter):
    """The line is masked when it is finished, so that a token inside a traceback or a nested value is found too."""

    def __init__(self) -> None:
        super().__init__(
            foreign_pre_chain=_facts(),
            processors=[
                self.remove_processors_meta,
                structlog.processors.format_exc_info,
                _mask_by_key,
                structlog.processors.JSONRenderer(),
            ],
        )

    def format(self, record: logging.LogRecord) -> str:
        return masked(super().format(record))


class _StderrHandler(logging.StreamHandler[TextIO]):
    """Ours among the root's handlers, so that configuring twice does not log twice."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)
        self.setFormatter(_MaskedJson())

    def emit(self, record: logging.LogRecord) -> None:
        # Looked up for every line: whoever redirects standard error gets what follows.
        self.stream = sys.stderr
        super().emit(record)
