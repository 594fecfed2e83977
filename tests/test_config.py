"""Settings: what is set counts, what is not set has its default, and what cannot be used is refused by name."""

from __future__ import annotations

import os
import re
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from tfpilot.config import GitHubApp, Settings, check_configured, github_credentials, load_settings
from tfpilot.core.model import WorkflowKind
from tfpilot.errors import ConfigError

ROOT = Path(__file__).resolve().parent.parent
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA\n-----END RSA PRIVATE KEY-----\n"


pytestmark = pytest.mark.usefixtures("bare_environment")


def given(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Settings:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return load_settings()


def refusal(monkeypatch: pytest.MonkeyPatch, **variables: str) -> str:
    with pytest.raises(ConfigError) as caught:
        given(monkeypatch, **variables)
    return caught.value.message


def configured(monkeypatch: pytest.MonkeyPatch, **variables: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        check_configured(given(monkeypatch, **variables))
    return caught.value


def test_without_any_variable_every_setting_has_its_documented_default(tmp_path: Path) -> None:
    settings = load_settings()
    assert (settings.region, settings.sse, settings.default_base_branch) == ("eu-west-2", "AES256", "main")
    assert settings.github_api_url == "https://api.github.com"
    assert settings.workflow_files == {
        WorkflowKind.PLAN: "plan.yml",
        WorkflowKind.APPLY: "apply.yml",
        WorkflowKind.DESTROY: "destroy.yml",
        WorkflowKind.CLEANUP: "cleanup.yml",
        WorkflowKind.DRIFT_PLAN: "drift-plan.yml",
    }
    assert settings.thresholds.planning == timedelta(minutes=15)
    assert settings.thresholds.applying == timedelta(minutes=60)
    assert settings.rights.dev_environments == {"dev"}
    assert settings.rights.prod_allowed == frozenset()
    assert settings.auth == "local"
    assert not settings.sandbox
    assert settings.cache_dir == tmp_path / ".cache" / "tfpilot"
    assert settings.log_level == "INFO"


def test_an_empty_variable_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = given(
        monkeypatch,
        TFPILOT_REQUESTS_BUCKET="",
        GITHUB_TOKEN="",
        TFPILOT_SANDBOX="",
        TFPILOT_STUCK_PLANNING_MINUTES="",
        TFPILOT_RESET_ENVIRONMENTS="",
        TFPILOT_PROD_ALLOWED_USERS="",
    )
    assert settings == load_settings()
    assert settings.requests_bucket is None
    assert settings.github_token is None
    assert settings.rights.dev_environments == {"dev"}
    assert settings.rights.prod_allowed == frozenset()


def test_what_is_set_is_what_operations_get(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = given(
        monkeypatch,
        TFPILOT_STUCK_PLANNING_MINUTES="20",
        TFPILOT_STUCK_APPLYING_MINUTES="90",
        TFPILOT_ADMINS=" Root-Admin , ,ops-lead",
        TFPILOT_APPROVERS="appr-one",
        TFPILOT_PROD_ALLOWED_USERS="Maya-K, ines-r,",
        TFPILOT_RESET_ENVIRONMENTS="dev, sandbox",
        GITHUB_DRIFT_PLAN_WORKFLOW_FILE="drift.yaml",
    )
    assert settings.thresholds.planning == timedelta(minutes=20)
    assert settings.thresholds.applying == timedelta(minutes=90)
    assert settings.rights.admins == " Root-Admin , ,ops-lead"
    assert settings.rights.approvers == "appr-one"
    assert settings.rights.prod_allowed == {"maya-k", "ines-r"}
    assert settings.rights.dev_environments == {"dev", "sandbox"}
    assert settings.workflow_files[WorkflowKind.DRIFT_PLAN] == "drift.yaml"


def test_dotenv_is_read_and_the_environment_wins_over_it(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("TFPILOT_REQUESTS_BUCKET=from-file\nTFPILOT_DEFAULT_REGION=us-east-1\n")
    settings = given(monkeypatch, TFPILOT_DEFAULT_REGION="eu-north-1")
    assert (settings.requests_bucket, settings.region) == ("from-file", "eu-north-1")


def test_aws_variables_of_dotenv_reach_the_sdk_and_never_replace_what_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    # Set and deleted first, so that what is put there is taken away again.
    monkeypatch.setenv("AWS_PROFILE", "")
    Path(".env").write_text("AWS_PROFILE=ops\nAWS_REGION=eu-west-2\nUNRELATED=1\n")
    monkeypatch.setenv("AWS_REGION", "eu-north-1")
    load_settings()
    assert os.environ["AWS_PROFILE"] == "ops"
    assert os.environ["AWS_REGION"] == "eu-north-1"
    assert "UNRELATED" not in os.environ


def test_a_dotenv_that_is_not_text_is_refused_by_name() -> None:
    Path(".env").write_bytes(b"TFPILOT_REQUESTS_BUCKET=\xff\xfe")
    with pytest.raises(ConfigError, match=r"^\.env cannot be read: it is not UTF-8 text"):
        load_settings()


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("TFPILOT_REQUESTS_BUCKET", "s3://bucket", "must be the name of a bucket, without s3://."),
        ("TFPILOT_DEFAULT_REGION", "EU West", "must be the name of a region, such as eu-west-2."),
        ("TFPILOT_SSE", "aws:kms", "must be 'AES256' or 'none'."),
        ("TFPILOT_SANDBOX", "perhaps", "must be 1 or 0."),
        ("TFPILOT_STUCK_PLANNING_MINUTES", "soon", "must be a valid integer"),
        ("TFPILOT_STUCK_PLANNING_MINUTES", "0", "must be greater than or equal to 1."),
        ("TFPILOT_STUCK_APPLYING_MINUTES", "10081", "must be less than or equal to 10080."),
        ("GITHUB_API_URL", "github.example.com", "must be a URL such as https://host"),
        ("GITHUB_API_URL", "https://host:port", "must be a URL such as https://host"),
        ("GITHUB_API_URL", "http://github.example.com", "must begin with https://"),
        ("GITHUB_PLAN_WORKFLOW_FILE", ".github/workflows/plan.yml", "must be a file name in .github/workflows"),
        ("GITHUB_DEFAULT_BASE_BRANCH", "no branch", "must be the name of a branch."),
        ("GITHUB_APP_INSTALLATION_ID", "0", "must be greater than or equal to 1."),
        ("GITHUB_TOKEN", "two words", "must be one word of printable ASCII characters."),
        ("TFPILOT_AUTH", "none", "must be 'local', 'proxy' or 'oidc'."),
        ("TFPILOT_PROD_ALLOWED_USERS", " , ", "names nobody and nothing"),
        ("TFPILOT_RESET_ENVIRONMENTS", ",", "names nobody and nothing"),
        ("TFPILOT_CACHE_DIR", "/dev/null", "must be a directory"),
        ("TFPILOT_CACHE_DIR", "~nobody-of-this-name/cache", "must be a directory"),
        ("TFPILOT_LOG_LEVEL", "chatty", "must be 'DEBUG', 'INFO', 'WARNING' or 'ERROR'."),
    ],
)
def test_an_unusable_value_is_refused_with_its_name_and_what_is_allowed(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str
) -> None:
    assert f"{variable}: {said}" in refusal(monkeypatch, **{variable: value})


def test_all_unusable_variables_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    message = refusal(monkeypatch, TFPILOT_SSE="x", TFPILOT_SANDBOX="x", TFPILOT_LOG_LEVEL="x")
    assert re.findall(r"TFPILOT_\w+", message) == ["TFPILOT_SSE", "TFPILOT_SANDBOX", "TFPILOT_LOG_LEVEL"]


def test_two_kinds_of_workflow_cannot_share_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    message = refusal(monkeypatch, GITHUB_DESTROY_WORKFLOW_FILE="apply.yml")
    assert message == "GITHUB_APPLY_WORKFLOW_FILE and GITHUB_DESTROY_WORKFLOW_FILE both name apply.yml."


def test_settings_do_not_change_once_read(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = given(monkeypatch, TFPILOT_REQUESTS_BUCKET="tfpilot-requests")
    with pytest.raises(ValidationError, match="frozen"):
        settings.requests_bucket = "another"  # type: ignore[misc]  # that it is refused is the promise


def test_no_secret_is_in_a_refusal_or_in_the_settings_as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = ["hunter2", "to ken", "xyzzy"]
    message = refusal(
        monkeypatch,
        GITHUB_TOKEN="to ken",
        GITHUB_API_URL="https://maya:hunter2@github.example.com",
        AWS_ENDPOINT_URL_S3="https://maya:hunter2@[s3",
        GITHUB_APP_PRIVATE_KEY="xyzzy",
    )
    assert "GITHUB_TOKEN" in message
    assert [secret for secret in secrets if secret in message] == []
    for name in ("GITHUB_API_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name)
    shown = repr(given(monkeypatch, GITHUB_TOKEN="plugh"))
    assert "plugh" not in shown
    assert "xyzzy" not in shown


def test_with_nothing_configured_both_ways_on_are_named() -> None:
    with pytest.raises(ConfigError) as caught:
        check_configured(load_settings())
    assert caught.value.message == "Nothing is configured: the portal knows neither a bucket nor GitHub."
    for name in ("TFPILOT_REQUESTS_BUCKET", "GITHUB_TOKEN", "TFPILOT_SANDBOX=1"):
        assert name in caught.value.hint


def test_the_sandbox_needs_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    check_configured(given(monkeypatch, TFPILOT_SANDBOX="1"))


def test_a_bucket_and_a_token_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    # A secret mounted from a file often ends with a line end.
    settings = given(monkeypatch, TFPILOT_REQUESTS_BUCKET="tfpilot-requests", GITHUB_TOKEN="plugh\n")
    check_configured(settings)
    assert github_credentials(settings) == SecretStr("plugh")


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"GITHUB_TOKEN": "t"}, "GITHUB_TOKEN is set, TFPILOT_REQUESTS_BUCKET is not."),
        ({"TFPILOT_REQUESTS_BUCKET": "bkt"}, "TFPILOT_REQUESTS_BUCKET is set, GitHub credentials are not."),
        (
            {"TFPILOT_REQUESTS_BUCKET": "bkt", "GITHUB_APP_ID": "1", "GITHUB_APP_INSTALLATION_ID": "2"},
            "GITHUB_APP_INSTALLATION_ID are set, GITHUB_APP_PRIVATE_KEY (or GITHUB_APP_PRIVATE_KEY_FILE) is not.",
        ),
        (
            {"TFPILOT_REQUESTS_BUCKET": "bkt", "GITHUB_APP_PRIVATE_KEY": PEM},
            "GITHUB_APP_PRIVATE_KEY is set, GITHUB_APP_ID and GITHUB_APP_INSTALLATION_ID are not.",
        ),
        (
            {"TFPILOT_REQUESTS_BUCKET": "bkt", "GITHUB_TOKEN": "t", "GITHUB_APP_ID": "1"},
            "GITHUB_TOKEN and GITHUB_APP_ID are set, and only one of the two can count.",
        ),
        (
            {
                "TFPILOT_REQUESTS_BUCKET": "bkt",
                "GITHUB_APP_PRIVATE_KEY": PEM,
                "GITHUB_APP_PRIVATE_KEY_FILE": "key.pem",
            },
            "GITHUB_APP_PRIVATE_KEY and GITHUB_APP_PRIVATE_KEY_FILE are both set",
        ),
        (
            {"TFPILOT_REQUESTS_BUCKET": "bkt", "GITHUB_APP_PRIVATE_KEY": "ssh-rsa AAAA"},
            "GITHUB_APP_PRIVATE_KEY does not hold a private key.",
        ),
        (
            {"TFPILOT_REQUESTS_BUCKET": "bkt", "GITHUB_APP_PRIVATE_KEY_FILE": "absent.pem"},
            "The private key absent.pem (GITHUB_APP_PRIVATE_KEY_FILE) cannot be read: No such file or directory.",
        ),
    ],
)
def test_half_a_configuration_is_refused_and_says_which_half(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], said: str
) -> None:
    assert said in configured(monkeypatch, **variables).message


def test_a_github_app_with_its_key_in_a_file_or_in_one_line_is_the_same_app(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("key.pem").write_text(PEM)
    app = {"GITHUB_APP_ID": "12", "GITHUB_APP_INSTALLATION_ID": "34"}
    from_file = github_credentials(given(monkeypatch, **app, GITHUB_APP_PRIVATE_KEY_FILE="key.pem"))
    monkeypatch.delenv("GITHUB_APP_PRIVATE_KEY_FILE")
    in_one_line = github_credentials(given(monkeypatch, **app, GITHUB_APP_PRIVATE_KEY=PEM.replace("\n", "\\n")))
    assert from_file == in_one_line == GitHubApp("12", 34, SecretStr(PEM))


def test_github_on_this_machine_may_be_spoken_to_without_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    assert given(monkeypatch, GITHUB_API_URL="http://127.0.0.1:8123/").github_api_url == "http://127.0.0.1:8123"


def test_the_example_file_names_every_setting_and_is_itself_usable() -> None:
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    named = set(re.findall(r"(?m)^# ?([A-Z][A-Z0-9_]+)=", example))
    variables = {str(field.validation_alias) for field in Settings.model_fields.values()}
    assert variables - named == set()
    Path(".env").write_text(example, encoding="utf-8")
    assert load_settings() == Settings()
