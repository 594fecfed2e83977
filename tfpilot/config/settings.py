"""The settings of one process, from the environment or `.env`. An empty variable is not set."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final, Literal

from dotenv import dotenv_values
from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from tfpilot.config.fields import (
    AppId,
    AuditKey,
    Branch,
    BucketName,
    Claim,
    Days,
    Directory,
    Hosts,
    IdentityHeader,
    Kinds,
    Logins,
    LogLevel,
    Minutes,
    Names,
    Orgs,
    ProxySecret,
    Rate,
    Region,
    Switch,
    Token,
    TokenUrl,
    Url,
    WebhookSecret,
    WorkflowFile,
)
from tfpilot.core.model import Thresholds, WorkflowKind
from tfpilot.core.reset_guards import parse_deny_terms
from tfpilot.core.reset_target import ResetTarget, parse_targets
from tfpilot.core.sign_in import SignInMode
from tfpilot.edges import GitHubRules, ResetRules, Rights
from tfpilot.errors import ConfigError

DOTENV: Final = Path(".env")
_SHOWN_REASON: Final = 200


@dataclass(frozen=True, slots=True)
class DoorRules:
    """Whom the HTTP door answers: under which names of the host (`*`: any), and how often a minute."""

    allowed_hosts: frozenset[str] = frozenset({"localhost", "127.0.0.1", "[::1]"})
    rate_per_minute: int = 600


_DOOR: Final = DoorRules()


def _default_cache_dir() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return Path(base) / "tfpilot" if base else Path.home() / ".cache" / "tfpilot"
    except RuntimeError as error:
        raise ConfigError(
            "TFPILOT_CACHE_DIR is not set, and this user has no home directory to put a cache in.",
            "Set TFPILOT_CACHE_DIR to a directory the portal may write.",
        ) from error


class Settings(BaseSettings):
    """Everything the environment says, each variable checked by itself; `check_configured` tells what goes together."""

    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", env_ignore_empty=True, case_sensitive=True, hide_input_in_errors=True
    )

    requests_bucket: BucketName | None = Field(None, validation_alias="TFPILOT_REQUESTS_BUCKET")
    region: Region = Field("eu-west-2", validation_alias="TFPILOT_DEFAULT_REGION")
    s3_endpoint: Url | None = Field(None, validation_alias="AWS_ENDPOINT_URL_S3")
    """To be shown. The AWS SDK reads the variable by itself."""
    sse: Literal["AES256", "none"] = Field("AES256", validation_alias="TFPILOT_SSE")

    github_token: Token | None = Field(None, validation_alias="GITHUB_TOKEN")
    github_app_id: AppId | None = Field(None, validation_alias="GITHUB_APP_ID")
    github_app_installation_id: int | None = Field(None, ge=1, validation_alias="GITHUB_APP_INSTALLATION_ID")
    github_app_private_key: SecretStr | None = Field(None, validation_alias="GITHUB_APP_PRIVATE_KEY")
    github_app_private_key_file: Path | None = Field(None, validation_alias="GITHUB_APP_PRIVATE_KEY_FILE")
    github_api_url: TokenUrl = Field("https://api.github.com", validation_alias="GITHUB_API_URL")
    plan_workflow_file: WorkflowFile = Field("plan.yml", validation_alias="GITHUB_PLAN_WORKFLOW_FILE")
    apply_workflow_file: WorkflowFile = Field("apply.yml", validation_alias="GITHUB_APPLY_WORKFLOW_FILE")
    destroy_workflow_file: WorkflowFile = Field("destroy.yml", validation_alias="GITHUB_DESTROY_WORKFLOW_FILE")
    cleanup_workflow_file: WorkflowFile = Field("cleanup.yml", validation_alias="GITHUB_CLEANUP_WORKFLOW_FILE")
    drift_plan_workflow_file: WorkflowFile = Field("drift-plan.yml", validation_alias="GITHUB_DRIFT_PLAN_WORKFLOW_FILE")
    default_base_branch: Branch = Field("main", validation_alias="GITHUB_DEFAULT_BASE_BRANCH")
    dry_run_kinds: Kinds = Field(frozenset(), validation_alias="GITHUB_DRY_RUN_INPUT_KINDS")
    """The kinds whose workflow has an input `dry_run`, which is then sent as false."""
    github_webhook_secret: WebhookSecret | None = Field(None, validation_alias="GITHUB_WEBHOOK_SECRET")
    """One secret, or several separated by commas while they are being changed."""

    stuck_planning_minutes: Minutes = Field(15, validation_alias="TFPILOT_STUCK_PLANNING_MINUTES")
    stuck_applying_minutes: Minutes = Field(60, validation_alias="TFPILOT_STUCK_APPLYING_MINUTES")

    auth: SignInMode = Field(SignInMode.LOCAL, validation_alias="TFPILOT_AUTH")
    login_claim: Claim = Field("preferred_username", validation_alias="TFPILOT_LOGIN_CLAIM")
    proxy_header: IdentityHeader | None = Field(None, validation_alias="TFPILOT_PROXY_HEADER")
    proxy_secret: ProxySecret | None = Field(None, validation_alias="TFPILOT_PROXY_SECRET")
    allowed_logins: Logins = Field(frozenset(), validation_alias="TFPILOT_ALLOWED_LOGINS")
    """Who may come in, in lower case; `*`: everybody."""
    allowed_orgs: Orgs = Field(frozenset(), validation_alias="TFPILOT_ALLOWED_ORGS")
    admins: str = Field("", validation_alias="TFPILOT_ADMINS")
    approvers: str = Field("", validation_alias="TFPILOT_APPROVERS")
    prod_allowed_users: Logins = Field(frozenset(), validation_alias="TFPILOT_PROD_ALLOWED_USERS")
    """Logins in lower case. Empty: no restriction."""
    destroy_prod_allowed_users: Logins = Field(frozenset(), validation_alias="TFPILOT_DESTROY_PROD_ALLOWED_USERS")
    reset_environments: Names = Field(frozenset({"dev"}), validation_alias="TFPILOT_RESET_ENVIRONMENTS")
    """The dev allow-list: every other environment counts as prod."""
    reset_targets_file: Path | None = Field(None, validation_alias="TFPILOT_RESET_TARGETS")
    reset_deny_terms: str = Field("", validation_alias="TFPILOT_RESET_DENY_TERMS")
    reset_second_admin: Switch = Field(default=False, validation_alias="TFPILOT_RESET_SECOND_ADMIN")
    undo_days: Days = Field(30, validation_alias="TFPILOT_UNDO_DAYS")

    read_only: Switch = Field(default=False, validation_alias="TFPILOT_READ_ONLY")
    audit_key: AuditKey | None = Field(None, validation_alias="TFPILOT_AUDIT_KEY")
    """One key, or several separated by commas while they are being changed: the first seals, all of them verify."""
    allowed_hosts: Hosts = Field(_DOOR.allowed_hosts, validation_alias="TFPILOT_ALLOWED_HOSTS")
    rate_limit_per_minute: Rate = Field(_DOOR.rate_per_minute, validation_alias="TFPILOT_RATE_LIMIT_PER_MINUTE")

    sandbox: Switch = Field(default=False, validation_alias="TFPILOT_SANDBOX")
    """The sandbox takes the place of the bucket and of GitHub, whatever else is set."""
    sandbox_dir: Directory | None = Field(None, validation_alias="TFPILOT_SANDBOX_DIR")
    """Where the sandbox keeps its data. None: a temporary directory."""
    cache_dir: Directory = Field(default_factory=_default_cache_dir, validation_alias="TFPILOT_CACHE_DIR")
    log_level: LogLevel = Field("INFO", validation_alias="TFPILOT_LOG_LEVEL")

    @property
    def thresholds(self) -> Thresholds:
        """How long a run may be active before it counts as stuck."""
        return Thresholds(
            planning=timedelta(minutes=self.stuck_planning_minutes),
            applying=timedelta(minutes=self.stuck_applying_minutes),
        )

    @property
    def rights(self) -> Rights:
        """Who may do what, as the operations want it."""
        return Rights(
            admins=self.admins,
            approvers=self.approvers,
            dev_environments=self.reset_environments,
            prod_allowed=self.prod_allowed_users,
            destroy_prod_allowed=self.destroy_prod_allowed_users,
            read_only=self.read_only,
            allowed_logins=self.allowed_logins,
            allowed_orgs=self.allowed_orgs,
        )

    @property
    def door(self) -> DoorRules:
        """Whom the HTTP door answers."""
        return DoorRules(self.allowed_hosts, self.rate_limit_per_minute)

    @property
    def resets(self) -> ResetRules:
        """What may be reset. Raises ConfigError where the file of the targets cannot be used."""
        return ResetRules(
            targets=load_targets(self.reset_targets_file) if self.reset_targets_file is not None else (),
            deny_terms=parse_deny_terms(self.reset_deny_terms),
            undo_days=self.undo_days,
            needs_second_admin=self.reset_second_admin,
        )

    @property
    def rules(self) -> GitHubRules:
        """What may be dispatched, and which webhooks are believed."""
        return GitHubRules(
            workflow_files=self.workflow_files,
            base_branch=self.default_base_branch,
            dry_run_kinds=self.dry_run_kinds,
            webhook_secrets=_secrets_in(self.github_webhook_secret),
        )

    @property
    def audit_keys(self) -> tuple[bytes, ...]:
        """The keys of the audit, the one that seals first; none where it is not set."""
        return tuple(key.encode() for key in _secrets_in(self.audit_key))

    @property
    def workflow_files(self) -> Mapping[WorkflowKind, str]:
        """The file in `.github/workflows` of each kind."""
        return {
            WorkflowKind.PLAN: self.plan_workflow_file,
            WorkflowKind.APPLY: self.apply_workflow_file,
            WorkflowKind.DESTROY: self.destroy_workflow_file,
            WorkflowKind.CLEANUP: self.cleanup_workflow_file,
            WorkflowKind.DRIFT_PLAN: self.drift_plan_workflow_file,
        }


def _secrets_in(listed: SecretStr | None) -> tuple[str, ...]:
    """The secrets in a list separated by commas; none where it is not set."""
    parts = listed.get_secret_value().split(",") if listed is not None else ()
    return tuple(secret for part in parts if (secret := part.strip()))


def load_targets(file: Path) -> tuple[ResetTarget, ...]:
    """The targets in a TOML file (see `tfpilot.core.reset_target`). Raises ConfigError, naming what is wrong."""
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # no TOML, or numbers and lists that nobody writes
        why = error.strerror if isinstance(error, OSError) else str(error)[:_SHOWN_REASON]
        raise ConfigError(
            f"The reset targets in {file} cannot be read: {why}.", "Correct TFPILOT_RESET_TARGETS, or the file."
        ) from error
    return parse_targets(document)


def load_settings() -> Settings:
    """The settings of this process: environment first, then `.env` in the working directory.

    `AWS_…` variables of `.env` are put into the environment, the only place where the AWS SDK looks for them.
    Raises ConfigError, which names every variable that cannot be used and what is allowed, but no value.
    """
    for name, value in _read_dotenv().items():
        if name.startswith("AWS_") and not os.environ.get(name):
            os.environ[name] = value
    try:
        settings = Settings(_env_file=DOTENV)
    except ValidationError as error:
        raise ConfigError(
            f"The settings cannot be used. {_explained(error)}",
            "Correct the variables in the environment or in `.env`; `.env.example` lists them all.",
        ) from None
    _check_workflow_files(settings)
    return settings


def _check_workflow_files(settings: Settings) -> None:
    """A run's kind is told from its file, so no two kinds may share one."""
    variable_of: dict[str, str] = {}
    for kind, file in settings.workflow_files.items():
        variable = f"GITHUB_{kind.upper()}_WORKFLOW_FILE"
        if file in variable_of:
            raise ConfigError(
                f"{variable_of[file]} and {variable} both name {file}.",
                "Give each kind of workflow a file of its own: a run's kind is told from its file.",
            )
        variable_of[file] = variable


def _read_dotenv() -> Mapping[str, str]:
    try:
        return {name: value for name, value in dotenv_values(DOTENV).items() if value}
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"{DOTENV} cannot be read: {why}.", "Correct the file, or remove it.") from None


def _explained(error: ValidationError) -> str:
    details = error.errors(include_url=False, include_context=False, include_input=False)
    return " ".join(f"{detail['loc'][0]}: {_sentence(detail['msg'])}" for detail in details)


def _sentence(message: str) -> str:
    words = message.removeprefix("Value error, ").replace("Input should be", "must be").rstrip(".")
    return f"{words}."
