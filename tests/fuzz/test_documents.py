"""Fifty hostile requests in a real bucket: every page shows them as text, and none does what they say."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.builders import NOW
from tests.core.reset_world import NAMED, PLAIN, REQUESTS, document
from tests.doors.door_setup import environment_of
from tests.fakes import Clock, FakeGitHub, FakeWorkflows, InMemory
from tests.fuzz.hostile import TEXTS, facts, id_of, lock, objects, state
from tests.fuzz.rendered import acts_of, leads_to_known, links_of, markdown_of
from tests.pages.conftest import Tab, framed_pages, no_component_scan, on_this_machine
from tests.reset_setup import dev_environment
from tfpilot import wiring
from tfpilot.adapters.s3 import Bucket
from tfpilot.config import Settings, load_settings
from tfpilot.core.terraform import digest_id, lock_id, md5_of
from tfpilot.operations.index_audit import audit_index
from tfpilot.sandbox.lock_table import LocalDynamoDB
from tfpilot.sandbox.storage import LocalS3
from tfpilot.ui import words
from tfpilot.ui.index_rows import findings_csv
from tfpilot.ui.request_table import to_csv

__all__ = ["framed_pages", "no_component_scan", "on_this_machine"]
pytestmark = pytest.mark.server

WORST = ("script", "image", "broken label", "code with markup", "null", "half a pair", "long with markup", "icon")
TARGET = """
[[targets]]
name = "hostile-dev"
environment = "dev"
repo = "acme/infra"
state_bucket = "{bucket}"
lock_mode = "dynamodb"
lock_table = "{table}"
"""
STATE = """
[[targets.states]]
key = "dev/{number}.tfstate"
target_env_path = "envs/dev"
"""


@dataclass(frozen=True)
class Hostile:
    """A portal on real stores in which everything is hostile."""

    portal: wiring.Portal
    bucket: Bucket


@pytest.fixture(scope="module")
def hostile(
    s3_server: LocalS3,
    s3_client: Bucket,
    lock_server: LocalDynamoDB,
    new_bucket: Callable[[], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Hostile]:
    """Everything is stored once; what GitHub says is made up, and hostile, too."""
    bucket, states = s3_client.sibling(new_bucket()), s3_client.sibling(new_bucket())
    stored = dict(objects())
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: bucket.client.put_object(Bucket=bucket.name, Key=key, Body=stored[key]), stored))
    targets = _store_states(states, lock_server, tmp_path_factory.mktemp("targets") / "targets.toml")
    clock = Clock(NOW)
    settings = {
        **environment_of(s3_server.settings(bucket.name), "https://api.github.com"),
        "AWS_ENDPOINT_URL_DYNAMODB": lock_server.endpoint_url,
        "TFPILOT_RESET_TARGETS": str(targets),
    }
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.setattr(wiring, "_now", clock)
        patch.chdir(targets.parent)
        for name, value in settings.items():
            patch.setenv(name, value)
        built = wiring.build(stack, load_settings())
        github = FakeGitHub()
        github.answers = {id_of(number): facts(text, number) for number, text in enumerate(TEXTS.values())}
        portal = replace(built, edges=replace(built.edges, github=github, workflows=FakeWorkflows(clock)))
        portal.edges.snapshots.refresh()
        portal.edges.index_listings.refresh_with_bodies()
        yield Hostile(portal, bucket)
    for each in (bucket, states):
        each.client.delete_bucket(Bucket=each.name)


def _store_states(bucket: Bucket, server: LocalDynamoDB, file: Path) -> Path:
    """A target whose states and locks are hostile; the last lock says nothing that Terraform could read."""
    table, client = f"locks-{bucket.name}", server.connect()
    server.create_table(table)
    tags = [{"Key": "tfpilot:environment", "Value": "dev"}]
    bucket.client.put_bucket_tagging(Bucket=bucket.name, Tagging={"TagSet": tags})
    for number, name in enumerate(WORST):
        key, content = f"dev/{number}.tfstate", state(TEXTS[name])
        bucket.client.put_object(Bucket=bucket.name, Key=key, Body=content)
        items = {
            lock_id(bucket.name, key): ("Info", told_by(number, name)),
            digest_id(bucket.name, key): ("Digest", md5_of(content)),
        }
        for item, (attribute, text) in items.items():
            client.put_item(TableName=table, Item={"LockID": {"S": item}, attribute: {"S": text}})
    states = "".join(STATE.format(number=number) for number in range(len(WORST)))
    file.write_text(TARGET.format(bucket=bucket.name, table=table) + states)
    return file


def told_by(number: int, name: str) -> str:
    text = TEXTS[name].encode(errors="replace").decode()
    return lock(TEXTS[name]) if number % 2 else text


@pytest.fixture
def tab(hostile: Hostile) -> Iterator[Tab]:
    wiring.use(hostile.portal)
    yield Tab()
    wiring.use(None)


def assert_harmless(tab: Tab) -> None:
    """Nothing that was sent acts, and nothing leads away."""
    acting = {sent: acts for sent in markdown_of(tab.at) if (acts := acts_of(sent.text))}
    assert not acting, "\n".join(f"{acts}: {sent}"[:400] for sent, acts in acting.items())
    away = [sent for sent in links_of(tab.at) if not leads_to_known(sent.text)]
    assert not away


def test_what_acts_is_told_from_what_is_only_shown():
    for name in (
        "script",
        "image",
        "svg",
        "reference",
        "icon",
        "formula",
        "code with markup",
        "emphasis",
        "null",
        "turned",
    ):
        assert acts_of(TEXTS[name]), name
    for name, text in TEXTS.items():
        assert not acts_of(words.plain(text)), name
        assert not acts_of(words.code(text)), name


def test_the_list_of_requests_is_only_text(tab: Tab):
    assert len(tab.open_list(show="all").requests) > 20
    assert_harmless(tab)
    assert_harmless(tab.select("Request", 3))


def test_a_request_with_all_its_tabs_is_only_text(tab: Tab):
    tab.at.run()
    tab.at.switch_page("pages/request.py")
    for number, name in enumerate(TEXTS):
        tab.at.query_params["id"] = id_of(number)
        tab.at.run()
        assert not tab.at.exception, name
        assert tab.at.title[0].value == id_of(number)
        if name in WORST:
            tab.look().click("Preview repair")
        assert_harmless(tab)


def test_an_object_that_is_no_request_is_only_text(tab: Tab):
    assert_harmless(tab.open_request("req_dev_broken"))


def test_the_run_index_is_only_text(tab: Tab):
    assert_harmless(tab.open_index().click("Run audit"))
    assert tab.has_table("Evidence")
    assert_harmless(tab.select("Evidence", 0))
    tab.open_index(tab="deliveries")
    assert {"Why", "Sender"} <= set(tab.table("Sender").columns)
    assert_harmless(tab)


def test_the_locks_are_only_text(tab: Tab):
    assert_harmless(tab.open_locks())
    for number in range(len(WORST)):
        assert_harmless(tab.open_locks(lock=f"hostile-dev/dev/{number}.tfstate"))


def test_the_reset_of_a_hostile_environment_is_only_text(tab: Tab):
    assert_harmless(tab.open_reset())
    tab.at.text_input(key="reset_reason").set_value(TEXTS["image"])
    assert_harmless(tab.look())
    assert tab.button("Make the plan").disabled


def test_a_reset_of_hostile_states_and_requests_is_only_text_up_to_its_receipt(memory: InMemory):
    dev = dev_environment(memory)
    for place, name in ((PLAIN, "image"), (NAMED, "code with markup")):
        memory.reset_stores.put_state(dev.target, place.object_key, state(TEXTS[name]))
    for id_, name in zip(REQUESTS, ("script", "half a pair", "icon", "turned"), strict=True):
        tags = {"tags": {"tfpilot:created_by": TEXTS[name]}}
        memory.bucket.write(f"requests/{id_}.json", document(id_, config=tags, project=TEXTS[name], module=TEXTS[name]))
    place = wiring.Place(bucket="tfpilot-requests", region="eu-west-2", github_url="https://api.github.com")
    wiring.use(wiring.Portal(memory.edges, Settings.model_construct(), place))
    tab = Tab().open_reset()
    tab.at.text_input(key="reset_reason").set_value(f"{TEXTS['image']} {TEXTS['icon']}")
    assert_harmless(tab.look())
    assert_harmless(tab.click("Make the plan"))
    assert_harmless(tab.click("Go on to confirm"))
    for box in tab.at.checkbox:
        box.check()
    typed = tab.at.text_input(key="reset_typed")
    typed.set_value(str(typed.label).removeprefix("Type ").strip("`"))
    assert_harmless(tab.look().click("Reset payments-dev"))
    assert memory.reset_stores.objects
    wiring.use(None)


@pytest.mark.parametrize("table", ["requests", "findings"])
def test_no_cell_of_a_csv_is_taken_for_a_formula(hostile: Hostile, table: str):
    edges = hostile.portal.edges
    written = to_csv(edges.snapshots.current().rows, NOW) if table == "requests" else findings_csv(audit_index(edges))
    cells = [cell for row in csv.reader(io.StringIO(written)) for cell in row]
    assert any("HYPERLINK" in cell for cell in cells) or table == "findings"
    assert not [cell for cell in cells if cell.lstrip().startswith(("=", "+", "-", "@"))]
