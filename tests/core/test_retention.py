"""What lifecycle rules do to the run index, and that the portal's own rule disturbs no other."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfpilot.core.bucket_rules import MINIMUM_SIZE, StoredLifecycle, Versioning, differences, normal, rules_of
from tfpilot.core.index_listing import IndexKeys
from tfpilot.core.model import WorkflowKind
from tfpilot.core.retention import (
    RULE_ID,
    Fit,
    LifecyclePlan,
    Removal,
    check_digest,
    check_unchanged,
    count_stored_days,
    coverage_of,
    plan_rule,
    simulate,
    versioning_notices,
)
from tfpilot.core.run_index import PREFIX
from tfpilot.errors import RefusedError

KINDS = tuple(WorkflowKind)
OURS = {"ID": RULE_ID, "Status": "Enabled", "Filter": {"Prefix": PREFIX}, "Expiration": {"Days": 90}}


def rule(days: int | None = 90, *, prefix: str = PREFIX, **parts: Any) -> dict[str, Any]:
    """An enabled rule of somebody else's that expires what has the prefix. A part given as None is left out."""
    made = {
        "ID": "theirs",
        "Status": "Enabled",
        "Filter": {"Prefix": prefix},
        "Expiration": None if days is None else {"Days": days},
        **parts,
    }
    return {name: value for name, value in made.items() if value is not None}


def configuration(*rules: dict[str, Any], **settings: Any) -> dict[str, Any]:
    return {"Rules": list(rules), **settings}


def stored(*rules: dict[str, Any], versioning: Versioning = Versioning.NEVER, **settings: Any) -> StoredLifecycle:
    return StoredLifecycle(configuration(*rules, **settings) if rules else {}, versioning)


def planned_rules(plan: LifecyclePlan) -> list[Any]:
    assert plan.after is not None
    return list(rules_of(plan.after))


class TestCoverage:
    @pytest.mark.parametrize("days", [90, 92, 95])
    @pytest.mark.parametrize("prefix", ["", "webhooks/", PREFIX.removesuffix("/"), PREFIX])
    def test_a_rule_of_90_to_95_days_for_the_prefix_or_more_covers_it(self, days: int, prefix: str) -> None:
        coverage = coverage_of(configuration(rule(days, prefix=prefix)))
        assert coverage.is_covered
        assert [(each.fit, each.kinds, each.days) for each in coverage.readings] == [(Fit.FITS, KINDS, days)]

    def test_a_rule_for_each_kind_covers_the_prefix(self) -> None:
        rules = [rule(ID=kind.value, prefix=f"{PREFIX}{kind.value}/") for kind in KINDS]
        assert coverage_of(configuration(*rules)).is_covered
        partly = coverage_of(configuration(*rules[1:]))
        assert (partly.is_covered, partly.uncovered) == (False, (KINDS[0],))
        assert KINDS[0].value in partly.sentence

    @pytest.mark.parametrize(
        ("theirs", "fit"),
        [
            (rule(89), Fit.TOO_SHORT),
            (rule(96), Fit.TOO_LONG),
            (rule(Status="Disabled"), Fit.DISABLED),
            (rule(Filter={"And": {"Prefix": PREFIX, "Tags": [{"Key": "a", "Value": "b"}]}}), Fit.NARROWED),
            (rule(Filter={"Tag": {"Key": "a", "Value": "b"}}), Fit.NARROWED),
            (rule(Filter={"And": {"Prefix": PREFIX, "ObjectSizeGreaterThan": 1}}), Fit.NARROWED),
            (rule(Filter={"ObjectSizeLessThan": 64 * 1024}), Fit.NARROWED),
            (rule(prefix=f"{PREFIX}plan/run-1"), Fit.NARROWED),
            (rule(Expiration={"Date": "2027-01-01T00:00:00.000Z"}), Fit.BY_DATE),
        ],
    )
    def test_a_rule_that_does_not_cover_the_prefix_says_why(self, theirs: dict[str, Any], fit: Fit) -> None:
        coverage = coverage_of(configuration(theirs))
        assert not coverage.is_covered
        (reading,) = coverage.readings
        assert reading.fit is fit
        assert reading.sentence.startswith("Rule theirs ")

    @pytest.mark.parametrize(
        "theirs",
        [
            rule(Filter={"And": {"Prefix": PREFIX, "ObjectSizeGreaterThan": 0}}),
            rule(Filter={"ObjectSizeLessThan": 1024 * 1024}),
            rule(Filter=None, Prefix=PREFIX),
            rule(Filter=None),
            rule(Filter={}),
        ],
        ids=["any size but empty", "any size of an entry", "without a filter", "without any scope", "an empty filter"],
    )
    def test_a_scope_that_leaves_no_entry_out_covers_the_prefix(self, theirs: dict[str, Any]) -> None:
        assert coverage_of(configuration(theirs)).is_covered

    @pytest.mark.parametrize("prefix", ["logs/", "webhooks/github/pr-index/", f"{PREFIX[:-1]}es/"])
    def test_rules_for_other_objects_are_not_about_it(self, prefix: str) -> None:
        coverage = coverage_of(configuration(rule(prefix=prefix), rule(None, ID="t", Transitions=[{"Days": 90}])))
        assert (coverage.readings, coverage.is_covered) == ((), False)
        assert "stay for ever" in coverage.sentence

    def test_of_two_rules_the_shorter_one_counts(self) -> None:
        coverage = coverage_of(configuration(rule(90), rule(30, ID="hasty", prefix="webhooks/")))
        assert set(coverage.days.values()) == {30}
        assert not coverage.is_covered

    def test_a_rule_that_names_a_date_spoils_the_cover_of_another(self) -> None:
        dated = rule(ID="dated", Expiration={"Date": "2027-01-01T00:00:00.000Z"})
        coverage = coverage_of(configuration(rule(90), dated))
        assert not coverage.is_covered
        assert "any age" in coverage.sentence


class TestSimulation:
    NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)

    def keys(self, *ages: timedelta) -> IndexKeys:
        return IndexKeys(
            (WorkflowKind.APPLY, number, int((self.NOW - age).timestamp())) for number, age in enumerate(ages, 1)
        )

    def removal(self, *ages: timedelta, days: int = 90) -> Removal:
        return simulate(count_stored_days(self.keys(*ages)), self.NOW, days=days)[WorkflowKind.APPLY]

    def test_an_entry_is_removed_at_the_midnight_after_its_days_are_over(self) -> None:
        due, not_due = timedelta(days=90, hours=12, seconds=1), timedelta(days=90, hours=12)
        assert self.removal(due) == Removal(1, 1, 1)
        assert self.removal(not_due) == Removal(1, 0, 1)

    def test_what_is_removed_in_30_days_is_told_apart(self) -> None:
        ages = [timedelta(days=days) for days in (0, 59, 61, 89, 100, 400)]
        assert self.removal(*ages) == Removal(stored=6, today=2, later=4)

    def test_another_number_of_days_removes_others(self) -> None:
        ages = [timedelta(days=days) for days in (10, 40)]
        assert self.removal(*ages, days=30) == Removal(stored=2, today=1, later=2)

    def test_kinds_are_counted_apart_and_none_is_left_out(self) -> None:
        keys = IndexKeys([(WorkflowKind.PLAN, 1, 0), (WorkflowKind.DESTROY, 2, int(self.NOW.timestamp()))])
        removals = simulate(count_stored_days(keys), self.NOW)
        assert list(removals) == list(KINDS)
        assert removals[WorkflowKind.PLAN] == Removal(1, 1, 1)
        assert removals[WorkflowKind.DESTROY] == Removal(1, 0, 0)
        assert removals[WorkflowKind.CLEANUP] == Removal(0, 0, 0)

    def test_more_entries_than_one_page_are_all_counted(self) -> None:
        keys = IndexKeys((WorkflowKind.PLAN, number, 0) for number in range(1, 10_003))
        assert simulate(count_stored_days(keys), self.NOW)[WorkflowKind.PLAN].today == 10_002


class TestPlan:
    def test_a_bucket_without_rules_gets_ours(self) -> None:
        plan = plan_rule(stored())
        assert planned_rules(plan) == [OURS]
        assert any(line.startswith("+") and RULE_ID in line for line in plan.difference)

    def test_other_rules_and_settings_stay_as_they_are(self) -> None:
        theirs = [
            rule(30, ID="logs", prefix="logs/", Transitions=[{"Days": 7, "StorageClass": "GLACIER"}]),
            rule(None, ID="parts", Filter={}, AbortIncompleteMultipartUpload={"DaysAfterInitiation": 3}),
            rule(ID="tagged", Filter={"And": {"Prefix": "a/", "Tags": [{"Key": "k", "Value": "v"}]}}),
        ]
        plan = plan_rule(stored(*theirs, **{MINIMUM_SIZE: "varies_by_storage_class"}))
        assert plan.after == configuration(*theirs, OURS, **{MINIMUM_SIZE: "varies_by_storage_class"})

    @pytest.mark.parametrize("theirs", [rule(90), rule(95, prefix=""), OURS])
    def test_a_covered_bucket_is_left_as_it_is(self, theirs: dict[str, Any]) -> None:
        plan = plan_rule(stored(theirs))
        assert (plan.after, plan.difference) == (None, ())

    def test_our_own_rule_is_set_right_and_keeps_what_else_it_has(self) -> None:
        extra = {"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 3}}
        wrong = {**OURS, "Status": "Disabled", "Expiration": {"Days": 7}, **extra}
        other = rule(ID="logs", prefix="logs/")
        assert planned_rules(plan_rule(stored(wrong, other))) == [{**OURS, **extra}, other]

    def test_a_rule_with_our_id_that_is_about_other_objects_is_refused(self) -> None:
        with pytest.raises(RefusedError, match=f"{RULE_ID} is about logs/"):
            plan_rule(stored(rule(7, ID=RULE_ID, prefix="logs/")))

    def test_beside_rules_of_the_old_form_ours_has_it_too(self) -> None:
        old = rule(ID="old", prefix="", Filter=None, Prefix="logs/")
        (_, ours) = planned_rules(plan_rule(stored(old)))
        assert (ours.get("Prefix"), "Filter" in ours) == (PREFIX, False)

    def test_what_the_portal_does_not_know_is_refused_by_name(self) -> None:
        unknown = StoredLifecycle(configuration(rule(7)), Versioning.NEVER, ("LifecycleConfiguration/Rule/Surprise",))
        with pytest.raises(RefusedError, match="Rule/Surprise"):
            plan_rule(unknown)

    def test_a_rule_of_others_that_is_too_short_stays_and_is_told(self) -> None:
        hasty = rule(7, ID="hasty")
        plan = plan_rule(stored(hasty))
        assert planned_rules(plan) == [hasty, OURS]
        assert [notice for notice in plan.notices if "hasty" in notice and "before their 90 days" in notice]
        assert plan_rule(stored(hasty, OURS)).after is None

    def test_noncurrent_versions_expire_only_where_it_is_asked_for(self) -> None:
        versioned = stored(versioning=Versioning.ENABLED)
        assert "NoncurrentVersionExpiration" not in planned_rules(plan_rule(versioned))[0]
        (ours,) = planned_rules(plan_rule(versioned, noncurrent_days=7))
        assert ours["NoncurrentVersionExpiration"] == {"NoncurrentDays": 7}

    def test_noncurrent_expiry_comes_to_a_bucket_that_is_covered_already(self) -> None:
        plan = plan_rule(stored(rule(90), versioning=Versioning.SUSPENDED), noncurrent_days=7)
        assert planned_rules(plan)[1]["NoncurrentVersionExpiration"] == {"NoncurrentDays": 7}

    def test_noncurrent_versions_that_expire_soon_enough_need_no_plan(self) -> None:
        theirs = rule(90, NoncurrentVersionExpiration={"NoncurrentDays": 7})
        assert plan_rule(stored(theirs, versioning=Versioning.ENABLED), noncurrent_days=7).after is None
        keeping = rule(90, NoncurrentVersionExpiration={"NoncurrentDays": 7, "NewerNoncurrentVersions": 2})
        assert plan_rule(stored(keeping, versioning=Versioning.ENABLED), noncurrent_days=7).after is not None

    def test_noncurrent_expiry_is_refused_where_there_are_no_versions(self) -> None:
        with pytest.raises(RefusedError, match="never kept versions"):
            plan_rule(stored(), noncurrent_days=7)
        with pytest.raises(RefusedError, match="after 0 days"):
            plan_rule(stored(versioning=Versioning.ENABLED), noncurrent_days=0)

    def test_the_digest_is_that_of_what_was_read_and_of_what_would_be_written(self) -> None:
        plans = [
            plan_rule(stored()),
            plan_rule(stored(rule(7))),
            plan_rule(stored(versioning=Versioning.ENABLED)),
            plan_rule(stored(versioning=Versioning.ENABLED), noncurrent_days=7),
        ]
        assert len({plan.digest for plan in plans}) == len(plans)
        assert plan_rule(stored()).digest == plans[0].digest

    def test_only_the_digest_of_the_plan_will_do_and_a_refusal_tells_it(self) -> None:
        plan = plan_rule(stored())
        for digest in (None, "", "0" * 12):
            with pytest.raises(RefusedError) as refused:
                check_digest(plan, digest)
            assert plan.digest in refused.value.hint
        check_digest(plan, plan.digest)


class TestUnchanged:
    def test_the_same_in_another_order_is_unchanged(self) -> None:
        rules = [rule(7, ID="a", prefix="a/"), rule(7, ID="b", prefix="b/")]
        check_unchanged(plan_rule(stored(*rules)), stored(*reversed(rules)))

    @pytest.mark.parametrize(
        ("now", "told"),
        [
            (stored(rule(7)), "rule theirs differs"),
            (stored(rule(8), rule(7, ID="new")), "rule new is there too"),
            (stored(), "rule theirs is missing"),
            (stored(rule(8), **{MINIMUM_SIZE: "varies_by_storage_class"}), MINIMUM_SIZE),
            (stored(rule(8), versioning=Versioning.ENABLED), "versioning is enabled, not never"),
            (StoredLifecycle(configuration(rule(8)), Versioning.NEVER, ("Rule/Surprise",)), "Rule/Surprise"),
        ],
    )
    def test_what_was_changed_since_the_plan_is_refused_by_name(self, now: StoredLifecycle, told: str) -> None:
        with pytest.raises(RefusedError, match=told):
            check_unchanged(plan_rule(stored(rule(8))), now)


@pytest.mark.parametrize(
    ("versioning", "noncurrent", "told"),
    [
        (Versioning.NEVER, None, []),
        (Versioning.ENABLED, None, ["only adds delete markers", "--noncurrent-days"]),
        (Versioning.ENABLED, 7, ["only adds delete markers", "expire after 7 days"]),
        (Versioning.SUSPENDED, None, ["suspended", "--noncurrent-days"]),
    ],
)
def test_what_versions_mean_for_the_rule_is_told(
    versioning: Versioning, noncurrent: int | None, told: list[str]
) -> None:
    expiry = {"NoncurrentVersionExpiration": {"NoncurrentDays": noncurrent}} if noncurrent else {}
    notices = " ".join(versioning_notices(stored(rule(90, **expiry), versioning=versioning)))
    assert bool(notices) == bool(told)
    assert all(words in notices for words in told)


class TestMeaning:
    """Two configurations that mean the same, and two that do not."""

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            (rule(prefix=""), rule(Filter={})),
            (rule(prefix=""), rule(Filter=None)),
            (rule(prefix="a/"), rule(Filter=None, Prefix="a/")),
            (rule(prefix="a/"), rule(Filter={"And": {"Prefix": "a/"}})),
            (
                rule(Filter={"Tag": {"Key": "k", "Value": "v"}}),
                rule(Filter={"And": {"Tags": [{"Key": "k", "Value": "v"}]}}),
            ),
            (
                rule(Filter={"And": {"Tags": [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}]}}),
                rule(Filter={"And": {"Tags": [{"Value": "2", "Key": "b"}, {"Value": "1", "Key": "a"}]}}),
            ),
            (
                rule(Transitions=[{"Days": 1, "StorageClass": "A"}, {"Days": 2, "StorageClass": "B"}]),
                rule(Transitions=[{"StorageClass": "B", "Days": 2}, {"StorageClass": "A", "Days": 1}]),
            ),
        ],
    )
    def test_means_the_same(self, one: dict[str, Any], other: dict[str, Any]) -> None:
        assert normal(configuration(one)) == normal(configuration(other))
        assert differences(configuration(one), configuration(other)) == ()

    def test_the_usual_minimum_size_is_what_nobody_said(self) -> None:
        assert differences(configuration(OURS), configuration(OURS, **{MINIMUM_SIZE: "all_storage_classes_128K"})) == ()

    @pytest.mark.parametrize(
        "other",
        [
            rule(91),
            rule(Status="Disabled"),
            rule(prefix="a/"),
            rule(Filter={"And": {"Prefix": PREFIX, "ObjectSizeGreaterThan": 0}}),
            rule(Transitions=[{"Days": 1, "StorageClass": "GLACIER"}]),
            rule(Surprise="yes"),
            rule(ID="another"),
        ],
    )
    def test_means_something_else(self, other: dict[str, Any]) -> None:
        assert normal(configuration(rule())) != normal(configuration(other))
        assert differences(configuration(rule()), configuration(other))

    def test_a_rule_without_an_id_is_told_as_such(self) -> None:
        assert differences(configuration(rule(ID=None)), {}) == ("rule without id is missing",)


PREFIXES = st.sampled_from(["", "logs/", "webhooks/", PREFIX, f"{PREFIX}plan/", f"{PREFIX}apply/run-1"])
FILTERS = st.one_of(
    PREFIXES.map(lambda prefix: {"Filter": {"Prefix": prefix}}),
    st.just({"Filter": {}}),
    PREFIXES.map(
        lambda prefix: {
            "Filter": {"And": {"Prefix": prefix, "Tags": [{"Key": "k", "Value": "v"}], "ObjectSizeLessThan": 9}}
        }
    ),
)
OLD_FORMS = PREFIXES.map(lambda prefix: {"Prefix": prefix})
DAYS = st.sampled_from([1, 30, 89, 90, 95, 96, 365])
ACTIONS = st.fixed_dictionaries(
    {},
    optional={
        "Expiration": DAYS.map(lambda days: {"Days": days}) | st.just({"ExpiredObjectDeleteMarker": True}),
        "Transitions": st.lists(DAYS.map(lambda days: {"Days": days, "StorageClass": "GLACIER"}), max_size=2),
        "NoncurrentVersionExpiration": DAYS.map(lambda days: {"NoncurrentDays": days}),
        "AbortIncompleteMultipartUpload": DAYS.map(lambda days: {"DaysAfterInitiation": days}),
    },
)


def configurations() -> st.SearchStrategy[dict[str, Any]]:
    def of(scopes: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[list[dict[str, Any]]]:
        one = st.builds(
            lambda scope, actions, status: {"Status": status, **scope, **actions},
            scopes,
            ACTIONS,
            st.sampled_from(["Enabled", "Disabled"]),
        )
        return st.lists(one, max_size=4)

    settings = st.sampled_from([{}, {MINIMUM_SIZE: "varies_by_storage_class"}])
    return st.builds(
        lambda rules, others: {
            "Rules": [{"ID": f"rule-{number}", **each} for number, each in enumerate(rules)],
            **others,
        },
        of(FILTERS) | of(OLD_FORMS),
        settings,
    )


@given(configurations(), st.none() | DAYS)
def test_whatever_the_rules_are_a_plan_changes_ours_alone_and_is_made_once(
    before: dict[str, Any], noncurrent_days: int | None
) -> None:
    untouched = json.dumps(before)
    plan = plan_rule(StoredLifecycle(before, Versioning.ENABLED), noncurrent_days=noncurrent_days)
    assert json.dumps(before) == untouched
    after = before if plan.after is None else plan.after
    assert [each for each in rules_of(after) if each["ID"] != RULE_ID] == before["Rules"]
    assert after.get(MINIMUM_SIZE) == before.get(MINIMUM_SIZE)
    assert len({"Filter" in each for each in rules_of(after)}) <= 1
    assert None not in coverage_of(after).days.values()
    assert plan_rule(StoredLifecycle(after, Versioning.ENABLED), noncurrent_days=noncurrent_days).after is None
