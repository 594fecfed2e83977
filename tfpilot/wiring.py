"""Settings and adapters → the portal. The only place that chooses who answers the operations."""

from __future__ import annotations

import sys
import threading
import time
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import structlog
from botocore.exceptions import BotoCoreError

from tfpilot import log
from tfpilot.adapters.audit_log import NO_KEY, S3AuditLog, new_chain
from tfpilot.adapters.audit_trail import S3AuditTrail
from tfpilot.adapters.backoffs import S3Backoffs
from tfpilot.adapters.bulk import Bulk
from tfpilot.adapters.deliveries import S3Deliveries
from tfpilot.adapters.dispatches import S3Dispatches
from tfpilot.adapters.doctor import ConnectionDoctor
from tfpilot.adapters.documents import S3Documents
from tfpilot.adapters.events import S3Events
from tfpilot.adapters.freeze import S3Freeze
from tfpilot.adapters.github import GitHubEdge, GitHubSettings, TokenCredential
from tfpilot.adapters.github_auth import AppCredential
from tfpilot.adapters.github_workflows import GitHubWorkflows
from tfpilot.adapters.identity import GitHubIdentity
from tfpilot.adapters.index_journal import S3IndexJournal
from tfpilot.adapters.index_listing import BucketIndexListings
from tfpilot.adapters.index_marks import S3IndexMarks
from tfpilot.adapters.index_objects import S3IndexObjects
from tfpilot.adapters.leases import S3Leases
from tfpilot.adapters.lifecycle import S3Lifecycle
from tfpilot.adapters.lock_records import S3LockRecords
from tfpilot.adapters.membership import GitHubMembership
from tfpilot.adapters.memos import S3CheckedMemos
from tfpilot.adapters.pull_index import S3PullIndex
from tfpilot.adapters.renewal import Renewal
from tfpilot.adapters.reset_journal import S3ResetJournal
from tfpilot.adapters.reset_store import S3ResetStores
from tfpilot.adapters.run_index import S3RunIndex
from tfpilot.adapters.s3 import Bucket, BucketSettings
from tfpilot.adapters.sign_outs import S3SignOuts
from tfpilot.adapters.snapshot import BucketSnapshots
from tfpilot.config import (
    DoorRules,
    GitHubApp,
    Settings,
    check_configured,
    github_credentials,
    load_settings,
    load_targets,
)
from tfpilot.core.model import NEVER, Door, Operator, Role
from tfpilot.edges import Edges, GitHubRules, ResetRules, Rights
from tfpilot.errors import ConfigError, TfPilotError
from tfpilot.operations.admission import operator_with
from tfpilot.sandbox.run import ADMIN, APPROVER, Sandbox

RENEW_EVERY: Final = timedelta(seconds=15)
"""How often the list of requests is read again in the background."""

LOCAL_OPERATOR: Final = Operator("local", Role.ADMIN, Door.PAGE)
"""Who uses the pages with TFPILOT_AUTH=local."""

_LOG: Final = structlog.get_logger("tfpilot.wiring")


@dataclass(frozen=True, slots=True)
class Place:
    """Which bucket and GitHub the portal works on, to be shown. `bearer`: the sandbox's token for `/api`."""

    bucket: str
    region: str
    github_url: str
    is_sandbox: bool = False
    bearer: str = ""


@dataclass(frozen=True, slots=True)
class Portal:
    """Everything a door needs: the edges for the operations, and what is shown about them."""

    edges: Edges
    settings: Settings
    place: Place
    built_at: datetime = NEVER


class _Run:
    """One portal from its building to its end. All of it happens in one thread of its own: a child process ends with
    the thread that started it."""

    def __init__(self, own_url: str | None) -> None:
        self.built: Future[Portal] = Future()
        self._own_url = own_url
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="portal", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Returns when the portal is taken down, or its building has failed."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            with ExitStack() as stack:
                self.built.set_result(_build(stack, self._own_url))
                self._over.wait()
        except Exception as error:
            if self.built.done():
                raise  # taking it down failed: nobody waits for that
            self.built.set_exception(error)


class _Process:
    """The one portal of a process: built once, whoever asks first, and again after a try that failed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._run: _Run | None = None
        self._built: Future[Portal] | None = None
        self._last_failure: BaseException | None = None
        self.own_url: str | None = None

    def start(self) -> Future[Portal]:
        """The portal to come, or that is there."""
        with self._lock:
            if self._built is None:
                self._run = _Run(self.own_url)
                self._built = self._run.built
            return self._built

    def portal(self) -> Portal:
        built = self.start()
        try:
            return built.result()
        except Exception as error:
            self._give_up(built, error)
            raise

    def replace(self, built: Future[Portal] | None) -> None:
        """Takes down the portal that is there; from now on this one counts."""
        with self._lock:
            run, self._run, self._built, self._last_failure = self._run, None, built, None
        if run is not None:
            run.end()

    def state(self) -> Portal | BaseException | None:
        """The portal where it is built, else why the last try failed, at once; None where there was none before."""
        built = self._built
        if built is None or not built.done():
            return self._last_failure
        return built.exception() or built.result()

    def _give_up(self, built: Future[Portal], failure: Exception) -> None:
        """The next one who asks tries again: a server may be back. Others may still wait for this try, or have begun
        the next one already."""
        with self._lock:
            if self._built is built:
                self._run, self._built, self._last_failure = None, None, failure


_PROCESS: Final = _Process()


def listen_at(url: str) -> None:
    """Says where this process answers HTTP, before it is built: the sandbox's GitHub sends its webhooks there."""
    _PROCESS.own_url = url


def door_rules() -> DoorRules:
    """Whom the HTTP door answers. Settings that cannot be used leave the defaults: the portal itself says what is wrong
    with them, to whoever may reach it then."""
    try:
        return load_settings().door
    except ConfigError:
        return DoorRules()


def start() -> None:
    """Begins to build the portal in the background, where nobody did yet."""
    _PROCESS.start()


def portal() -> Portal:
    """The process's portal, built where it was not yet. Raises ConfigError or another TfPilotError."""
    return _PROCESS.portal()


def stop() -> None:
    """Takes the portal down, and the sandbox with it."""
    _PROCESS.replace(None)


def use(replacement: Portal | None) -> None:
    """From now on this is the process's portal; None: none, the next one who asks builds one."""
    built: Future[Portal] | None = None
    if replacement is not None:
        built = Future()
        built.set_result(replacement)
    _PROCESS.replace(built)


def why_not_ready() -> str | None:
    """Why the portal cannot serve requests now, None where it can. Answers at once."""
    built = _PROCESS.state()
    if not isinstance(built, Portal):
        return _why_not_built(built)
    snapshot = built.edges.snapshots.current()
    if snapshot.error is not None:
        return f"storage: {snapshot.error}"
    is_read = snapshot.read_at is not None and snapshot.read_at >= built.built_at
    return None if is_read else "the first reading of the requests has not ended"


def _why_not_built(failure: BaseException | None) -> str:
    """Anybody may ask: what was not expected is told to the log alone."""
    if failure is None:
        return "the portal is starting"
    return failure.message if isinstance(failure, TfPilotError) else "the portal cannot be built; its log says why"


def operator_of(portal: Portal) -> Operator:
    """Who a command acts as: the login of the GitHub token, or the system for an App.

    Raises SignatureError (GitHub does not know the token) or GitHubError.
    """
    token = _own_token(portal)
    if token is None:
        return Operator("system", Role.SYSTEM, Door.COMMAND)
    return operator_with(portal.edges, portal.edges.identity.login_of(token), door=Door.COMMAND)


def _own_token(portal: Portal) -> str | None:
    """A token of the real GitHub means nothing in the sandbox, which has one of its own."""
    if portal.place.is_sandbox:
        return portal.place.bearer
    token = portal.settings.github_token
    return None if token is None else token.get_secret_value()


def build(stack: ExitStack, settings: Settings, *, renewing: bool = False, own_url: str | None = None) -> Portal:
    """A portal on what the settings name, taken down with `stack`. `renewing`: requests are listed in the background.
    `own_url`: where it answers HTTP, if it does.

    Raises ConfigError where the settings do not go together, StorageError where the local cache cannot be used.
    """
    check_configured(settings)
    built_at = _now()
    if settings.sandbox:
        hook = None if own_url is None else f"{own_url}/api/github/webhook"
        parts = _sandbox_parts(stack.enter_context(Sandbox(settings.sandbox_dir, webhook_url=hook)), settings)
    else:
        parts = _real_parts(settings)
    return Portal(_edges(stack, settings, parts, renewing=renewing), settings, parts.place, built_at=built_at)


def _build(stack: ExitStack, own_url: str | None) -> Portal:
    log.configure("INFO")  # what is wrong with the settings is logged too
    try:
        settings = load_settings()
        log.configure(settings.log_level)
        built = build(stack, settings, renewing=True, own_url=own_url)
    except TfPilotError as error:
        _LOG.error("portal cannot be built", error=error.message, hint=error.hint)
        raise
    except Exception:
        _LOG.exception("portal cannot be built")
        raise
    _LOG.info("portal is up", bucket=built.place.bucket, github=built.place.github_url, sandbox=built.place.is_sandbox)
    if built.place.is_sandbox:
        sys.stdout.write(f"The sandbox is up. For /api: Authorization: Bearer {built.place.bearer}\n")
        sys.stdout.flush()
    return built


@dataclass(frozen=True, slots=True)
class _Parts:
    """What differs between the sandbox and the real world."""

    bucket: BucketSettings
    github: GitHubSettings
    place: Place
    rights: Rights
    rules: GitHubRules
    resets: ResetRules
    audit_keys: tuple[bytes, ...]
    dynamodb_endpoint: str | None = None


def _sandbox_parts(sandbox: Sandbox, settings: Settings) -> _Parts:
    place = Place(
        bucket=sandbox.bucket.name,
        region=sandbox.bucket.region or "",
        github_url=sandbox.github_url,
        is_sandbox=True,
        bearer=sandbox.bearer_token,
    )
    return _Parts(
        bucket=sandbox.bucket,
        github=GitHubSettings(sandbox.github_url, TokenCredential(sandbox.github_token), settings.workflow_files),
        place=place,
        rights=replace(settings.rights, admins=ADMIN, approvers=APPROVER),
        rules=replace(settings.rules, webhook_secrets=(sandbox.webhook_secret,)),
        resets=replace(settings.resets, targets=load_targets(sandbox.reset_targets_file)),
        audit_keys=(sandbox.audit_key.encode(),),
        dynamodb_endpoint=sandbox.dynamodb_endpoint,
    )


def _real_parts(settings: Settings) -> _Parts:
    name = settings.requests_bucket or ""
    encryption = None if settings.sse == "none" else settings.sse
    return _Parts(
        bucket=BucketSettings(name=name, region=settings.region, encryption=encryption),
        github=_github_settings(settings),
        place=Place(bucket=name, region=settings.region, github_url=settings.github_api_url),
        rights=settings.rights,
        rules=settings.rules,
        resets=settings.resets,
        audit_keys=settings.audit_keys,
    )


def _github_settings(settings: Settings) -> GitHubSettings:
    credentials = github_credentials(settings)
    credential = (
        AppCredential(credentials.app_id, credentials.installation_id, credentials.private_key.get_secret_value())
        if isinstance(credentials, GitHubApp)
        else TokenCredential(credentials.get_secret_value())
    )
    return GitHubSettings(settings.github_api_url, credential, settings.workflow_files)


def _edges(stack: ExitStack, settings: Settings, parts: _Parts, *, renewing: bool) -> Edges:
    bucket = _bucket(parts.bucket)
    bulk = Bulk(bucket)
    github = GitHubEdge(parts.github)
    stack.callback(github.close)
    identity = GitHubIdentity(parts.github.base_url)
    stack.callback(identity.close)
    snapshots = BucketSnapshots(
        bucket, bulk, clock=_now, thresholds=settings.thresholds, cache_path=_cache_path(settings, parts.bucket)
    )
    stack.callback(snapshots.close)
    if renewing:
        renewal = Renewal(snapshots, interval=RENEW_EVERY)
        renewal.start()
        stack.callback(renewal.stop)
    listings = BucketIndexListings(
        bucket, bulk, clock=_now, cache_path=_cache_path(settings, parts.bucket, "-run-index")
    )
    stack.callback(listings.close)
    stores = S3ResetStores(bucket, bulk, dynamodb_endpoint=parts.dynamodb_endpoint)
    return Edges(
        documents=S3Documents(bucket),
        snapshots=snapshots,
        github=github,
        workflows=GitHubWorkflows(github),
        run_index=S3RunIndex(bucket),
        index_listings=listings,
        index_objects=S3IndexObjects(bucket),
        index_journal=S3IndexJournal(bucket, bulk),
        index_marks=S3IndexMarks(bucket, bulk),
        lifecycle=S3Lifecycle(bucket),
        dispatches=S3Dispatches(bucket, bulk),
        deliveries=S3Deliveries(bucket, bulk),
        pull_index=S3PullIndex(bucket),
        checked=S3CheckedMemos(bucket),
        backoffs=S3Backoffs(bucket),
        events=S3Events(bulk),
        reset_stores=stores,
        reset_journal=S3ResetJournal(bucket, bulk),
        leases=S3Leases(bucket),
        lock_records=S3LockRecords(bucket),
        freeze=S3Freeze(bucket),
        audit=S3AuditLog(bucket, chain=new_chain(_now()), key=next(iter(parts.audit_keys), NO_KEY)),
        audit_trail=S3AuditTrail(bucket, keys=parts.audit_keys),
        identity=identity,
        membership=GitHubMembership(github.client),
        sign_outs=S3SignOuts(bucket),
        doctor=ConnectionDoctor(bucket, github, stores, parts.resets.targets, clock=_now),
        clock=_now,
        sleep=_sleep,
        thresholds=settings.thresholds,
        rights=parts.rights,
        rules=parts.rules,
        resets=replace(parts.resets, requests_bucket=parts.bucket.name),
    )


def _bucket(settings: BucketSettings) -> Bucket:
    """Raises ConfigError where the AWS SDK cannot use what its own variables and files say."""
    try:
        return Bucket(settings)
    except (BotoCoreError, ValueError) as error:
        raise ConfigError(
            f"The AWS SDK cannot use its settings: {log.masked(str(error))}",
            "Check the AWS_… variables, AWS_PROFILE among them, and the files in ~/.aws.",
        ) from error


def _cache_path(settings: Settings, bucket: BucketSettings, part: str = "") -> Path | None:
    """One cache file per bucket and part of it; none that outlives a sandbox."""
    return None if settings.sandbox else settings.cache_dir / f"{bucket.name}{part}.sqlite"


def _sleep(duration: timedelta) -> None:
    time.sleep(duration.total_seconds())


def _now() -> datetime:
    return datetime.now(UTC)
