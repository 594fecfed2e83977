"""Whose run or pull request it is, from branches and titles."""

from __future__ import annotations

import pytest

from tfpilot.core.correlation import find_other_owner, named_requests, names_request, request_of_branch


@pytest.mark.parametrize(
    "branch",
    [
        "request/req_a_1",
        "cleanup/req_a_1",
        "update/req_a_1/rev-2",
        "refs/heads/request/req_a_1",
        "update/req_a_1/rev-10",
    ],
)
def test_our_branches_name_their_request(branch):
    assert request_of_branch(branch) == "req_a_1"


@pytest.mark.parametrize(
    "branch",
    [
        None,
        "",
        "main",
        "request/",
        "request/req_A",
        "request/req_a/more",
        "requests/req_a",
        "my/request/req_a",
        "update/req_a",
        "update/req_a/rev-",
        "update/req_a/rev-2/x",
        "request/../req_a",
        "request/req_a\n",
        "request/req_" + "a" * 200,
    ],
)
def test_other_branches_name_nobody(branch):
    assert request_of_branch(branch) is None


def test_every_id_in_a_title_is_found_once_and_in_order():
    title = "Apply req_b, then req_a (req_b) [req_c]"
    assert named_requests(title) == ("req_b", "req_a", "req_c")


@pytest.mark.parametrize("title", [None, "", "prereq_a", "Req_a", "req_A", "req_aB", "req-a", "req_"])
def test_what_only_looks_like_an_id_is_none(title):
    assert named_requests(title) == ()


def test_a_longer_id_does_not_name_the_shorter_one():
    assert not names_request("Plan req_a_b", "req_a")
    assert names_request("Plan req_a: bucket", "req_a")


def test_the_branch_decides_over_the_title():
    assert find_other_owner(branch="request/req_a", title="like req_b", request_id="req_a") is None
    assert find_other_owner(branch="request/req_b", title="for req_a", request_id="req_a") == "req_b"


def test_without_an_id_in_the_branch_the_title_decides():
    assert find_other_owner(branch="main", title="Apply req_b", request_id="req_a") == "req_b"
    assert find_other_owner(branch="main", title="Apply req_b and req_a", request_id="req_a") is None
    assert find_other_owner(branch="main", title="Apply", request_id="req_a") is None
    assert find_other_owner(branch=None, title=None, request_id="req_a") is None
