"""Every guard of a reset, in each way of saying no; what cannot be checked is no."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import NOW, ago, request, run, with_pull, with_run
from tests.core.reset_world import FOREIGN, LOCK_ID, NAMED, PLAIN, target
from tfpilot.core.bucket_rules import Versioning
from tfpilot.core.listing import summarise
from tfpilot.core.model import Operator, Role, Thresholds
from tfpilot.core.request import parse_request
from tfpilot.core.reset_guards import (
    DEFAULT_ENVIRONMENTS,
    DENY_TERMS,
    Check,
    Counts,
    Guard,
    GuardEvidence,
    InFlight,
    Reading,
    RunsSeen,
    SeenLock,
    Verdict,
    denied,
    parse_deny_terms,
    refuse_unless_passed,
    run_guards,
    why_in_flight,
)
from tfpilot.core.reset_target import ResetTarget
from tfpilot.core.terraform import LockMode, parse_lock
from tfpilot.errors import ConfigError, RefusedError

UNREAD: Reading[Any] = Reading(None, "403 AccessDenied")


def evidence(**fields: Any) -> GuardEvidence:
    """Evidence that lets every guard pass."""
    good = GuardEvidence(
        operator=Operator("ops-lead", Role.ADMIN),
        allowed_environments=DEFAULT_ENVIRONMENTS,
        added_deny_terms=(),
        tags=Reading({"tfpilot:environment": "dev", "owner": "payments"}),
        in_flight=Reading(()),
        runs=Reading(RunsSeen((), complete=True, workflow_count=5)),
        locks=Reading(()),
        versioning=Reading(Versioning.ENABLED),
        counts=Reading(Counts(128, 1558)),
        read_only=False,
        frozen=Reading(""),
    )
    return replace(good, **fields)


def check(guard: Guard, chosen: ResetTarget | None = None, **fields: Any) -> Check:
    checks = run_guards(chosen or target(), evidence(**fields))
    return next(each for each in checks if each.guard is guard)


def lock(text: str | None) -> SeenLock:
    return SeenLock("tfstate-dev/dev/terraform.tfstate", parse_lock(text))


OWN = FOREIGN.replace("foreign", LOCK_ID).replace("lena@laptop-17", "ops-lead@tfpilot-ops")


def test_with_everything_in_order_each_guard_passes_and_says_why():
    checks = run_guards(target(), evidence())
    assert [each.guard for each in checks] == list(Guard)
    assert all(each.passed and each.why for each in checks)
    refuse_unless_passed(target(), checks)


@pytest.mark.parametrize(
    ("guard", "fields", "why"),
    [
        (Guard.ROLE, {"operator": Operator("maya-k", Role.APPROVER)}, "maya-k is approver, not admin"),
        (Guard.ROLE, {"operator": Operator("", Role.VIEWER)}, "nobody is viewer"),
        (Guard.ROLE, {"operator": Operator("tfpilot", Role.SYSTEM)}, "tfpilot is system"),
        (Guard.ENVIRONMENT, {"allowed_environments": {"sandbox"}}, "dev is not in the allow-list, which has sandbox"),
        (Guard.ENVIRONMENT, {"allowed_environments": set()}, "which has nothing"),
        (Guard.DENY_TERMS, {"added_deny_terms": ("tfstate",)}, "bucket tfstate-dev says tfstate"),
        (Guard.PLACE, {"tags": Reading({})}, "has no tag tfpilot:environment"),
        (Guard.PLACE, {"tags": Reading({"tfpilot:environment": "prod"})}, "says 'prod' in its tag"),
        (Guard.PLACE, {"tags": Reading({"tfpilot:environment": "Dev"})}, "says 'Dev'"),
        (Guard.REQUESTS, {"in_flight": Reading((InFlight("req_a", "applying"),))}, r"req_a \(applying\)"),
        (Guard.RUNS, {"runs": Reading(RunsSeen(("run 7",), complete=True, workflow_count=5))}, "not over: run 7"),
        (Guard.RUNS, {"runs": Reading(RunsSeen(("run 7",), complete=False, workflow_count=5))}, "not over: run 7"),
        (Guard.LOCKS, {"locks": Reading((lock(FOREIGN),))}, "held by lena@laptop-17"),
        (Guard.LOCKS, {"locks": Reading((lock(None),))}, "not readable: The lock item has no Info"),
        (Guard.LOCKS, {"locks": Reading((lock(OWN),))}, "held by ops-lead@tfpilot-ops"),
        (Guard.VERSIONING, {"versioning": Reading(Versioning.SUSPENDED)}, "suspended"),
        (Guard.VERSIONING, {"versioning": Reading(Versioning.NEVER)}, "never enabled"),
        (Guard.SHARE, {"counts": Reading(Counts(91, 100))}, "91 of 100 requests, more than 90 %"),
        (Guard.WRITING, {"read_only": True}, "read-only"),
        (Guard.WRITING, {"frozen": Reading("incident 12")}, "frozen: incident 12"),
    ],
)
def test_a_guard_refuses_with_a_text_of_its_own(guard, fields, why):
    refused = check(guard, **fields)
    assert refused.verdict is Verdict.REFUSED
    assert refused.hint
    with pytest.raises(RefusedError, match=why) as caught:
        refuse_unless_passed(target(), run_guards(target(), evidence(**fields)))
    assert str(guard) in caught.value.message
    assert "payments-dev is not reset" in caught.value.message


@pytest.mark.parametrize(
    ("guard", "fields"),
    [
        (Guard.PLACE, {"tags": UNREAD}),
        (Guard.REQUESTS, {"in_flight": UNREAD}),
        (Guard.RUNS, {"runs": UNREAD}),
        (Guard.RUNS, {"runs": Reading(RunsSeen((), complete=False, workflow_count=5))}),
        (Guard.LOCKS, {"locks": UNREAD}),
        (Guard.VERSIONING, {"versioning": UNREAD, "accepts_no_versioning": True}),
        (Guard.SHARE, {"counts": UNREAD, "accepts_most_requests": True}),
        (Guard.WRITING, {"frozen": UNREAD}),
    ],
)
def test_what_cannot_be_checked_is_refused_whatever_is_accepted(guard, fields):
    unchecked = check(guard, **fields)
    assert unchecked.verdict is Verdict.UNCHECKED
    with pytest.raises(RefusedError, match="could not be checked"):
        refuse_unless_passed(target(), run_guards(target(), evidence(**fields)))


def test_a_guard_that_was_not_run_refuses():
    checks = [each for each in run_guards(target(), evidence()) if each.guard is not Guard.PLACE]
    with pytest.raises(RefusedError, match="Bucket proves its place: not checked"):
        refuse_unless_passed(target(), checks)


def test_all_that_refuses_is_said_at_once():
    with pytest.raises(RefusedError, match=r"Role is admin: .*Writing is allowed: "):
        refuse_unless_passed(
            target(), run_guards(target(), evidence(operator=Operator("x", Role.DEVELOPER), read_only=True))
        )


def test_the_locks_of_the_reset_itself_do_not_refuse_it():
    both = Reading((lock(OWN), lock(OWN)))
    assert check(Guard.LOCKS, locks=both, own_lock_id=LOCK_ID).passed
    assert not check(Guard.LOCKS, locks=Reading((lock(OWN), lock(FOREIGN))), own_lock_id=LOCK_ID).passed
    assert not check(Guard.LOCKS, locks=Reading((lock(None),)), own_lock_id="").passed


def test_versioning_and_the_share_can_be_accepted_and_it_is_said():
    versioning = check(Guard.VERSIONING, versioning=Reading(Versioning.SUSPENDED), accepts_no_versioning=True)
    share = check(Guard.SHARE, counts=Reading(Counts(100, 100)), accepts_most_requests=True)
    assert versioning.passed
    assert share.passed
    assert "accepted" in versioning.why
    assert "accepted" in share.why


@pytest.mark.parametrize(
    ("part", "total", "passed"), [(90, 100, True), (901, 1000, False), (0, 0, True), (1, 1, False), (9, 10, True)]
)
def test_more_than_ninety_percent_is_too_much_and_ninety_is_not(part, total, passed):
    assert check(Guard.SHARE, counts=Reading(Counts(part, total))).passed is passed


class TestDenyTerms:
    @pytest.mark.parametrize(
        "name",
        [
            "prod",
            "PROD",
            "prod2",
            "2prod",
            "p1rod",
            "my-prod-bucket",
            "my_prod",
            "tfstate.prod",
            "envs/prod/terraform.tfstate",
            "env:/prod/dev.tfstate",
            "production",
            "pre-production",
            "productive",
            "producer",
            "prods",
            "live",
            "live1",
            "go-live",
            "eu/live/x",
            "\uff50\uff52\uff4f\uff44",
            "prod²",
        ],
    )
    def test_a_name_that_says_it_is_not_for_development_is_denied(self, name):
        assert denied(name)

    @pytest.mark.parametrize(
        "name",
        [
            "dev",
            "product",
            "products",
            "product-catalog-dev",
            "products2",
            "delivery",
            "liveness",
            "alive",
            "lives",
            "oliver",
            "nonprod",
            "preprod",
            "reproduce",
            "approdev",
            "",
            "123",
        ],
    )
    def test_other_names_are_not(self, name):
        assert denied(name) == ()

    @pytest.mark.parametrize(
        "chosen",
        [
            replace(target(), environment="live"),
            replace(target(), bucket="tfstate-prod"),
            replace(target(), lock_table="locks_production"),
            replace(target(), states=(replace(PLAIN, key="prod/terraform.tfstate"),)),
            replace(target(), states=(PLAIN, replace(NAMED, workspace="live"))),
            replace(target(), states=(PLAIN, replace(NAMED, workspace_key_prefix="prod"))),
        ],
    )
    def test_it_is_refused_wherever_the_target_says_it(self, chosen):
        everything = evidence(allowed_environments={"dev", "live"}, tags=Reading({"tfpilot:environment": "live"}))
        checks = run_guards(chosen, everything)
        assert next(each for each in checks if each.guard is Guard.DENY_TERMS).verdict is Verdict.REFUSED

    def test_names_like_products_and_delivery_pass(self):
        chosen = replace(target(LockMode.BOTH), bucket="tfstate-products-dev", lock_table="delivery-locks")
        assert check(Guard.DENY_TERMS, chosen).passed

    @given(
        term=st.sampled_from(DENY_TERMS),
        before=st.from_regex(r"([a-z0-9]{0,5}[-_./:])?[0-9]{0,3}", fullmatch=True),
        after=st.from_regex(r"[0-9]{0,3}([-_./:][a-z0-9]{0,5})?", fullmatch=True),
        upper=st.booleans(),
    )
    def test_a_deny_term_is_found_in_any_company_and_case(self, term, before, after, upper):
        name = f"{before}{term.upper() if upper else term}{after}"
        assert term in denied(name)

    @given(
        words=st.lists(st.sampled_from(["dev", "products", "product", "delivery", "liveness", "eu", "7"]), max_size=5)
    )
    def test_harmless_words_stay_harmless_together(self, words):
        assert denied("-".join(words)) == ()

    @given(name=st.text(), added=st.lists(st.text(max_size=5), max_size=3))
    def test_added_terms_only_ever_deny_more(self, name, added):
        assert set(denied(name)) <= set(denied(name, (*DENY_TERMS, *added)))

    @given(rest=st.from_regex(r"[a-z]{0,8}", fullmatch=True))
    def test_every_word_that_begins_with_prod_is_denied_but_product_and_products(self, rest):
        assert bool(denied(f"dev-prod{rest}")) is (rest not in {"uct", "ucts"})

    def test_terms_are_added_by_a_setting_and_may_have_several_words(self):
        terms = parse_deny_terms(" customer-facing, , Gold ")
        assert terms == ("customer-facing", "Gold")
        assert denied("eu-customer_facing-1", terms) == ("customer-facing",)
        assert denied("gold2", terms) == ("Gold",)
        assert denied("facing-customer", terms) == ()

    def test_a_term_that_nothing_can_match_is_no_setting(self):
        with pytest.raises(ConfigError, match="'42' has no letter"):
            parse_deny_terms("gold,42")


class TestInFlight:
    @pytest.mark.parametrize(
        ("document", "reason"),
        [
            (request(), None),
            (with_pull(request()), "planning"),
            (with_run(request(), "apply", **run(7, "in_progress", createdAt=ago(minutes=1))), "applying"),
            (with_run(request(), "apply", **run(7)), None),
            ({**request(), "github": {"destroyTriggeredAt": ago(minutes=1)}}, "destroying"),
            ({**request(), "github": {"destroyTriggeredAt": ago(hours=2)}}, "destroy was dispatched"),
            ({**request(), "github": {"destroyTriggeredAt": ago(days=2)}}, None),
            ({**request(), "github": {"destroyTriggeredAt": "soon"}}, "destroy was dispatched"),
        ],
    )
    def test_a_request_is_in_flight_while_something_may_still_happen_to_it(self, document, reason):
        row = summarise(parse_request(document), thresholds=Thresholds())
        said = why_in_flight(row, NOW)
        assert (said is None) if reason is None else (said is not None and reason in said)

    def test_an_intent_counts_for_exactly_a_day(self):
        document = {**request(), "github": {"destroyTriggeredAt": ago(days=1)}}
        row = summarise(parse_request(document), thresholds=Thresholds())
        assert why_in_flight(row, NOW)
        assert why_in_flight(row, NOW + timedelta(seconds=1)) is None
