"""Pull requests and their reviews as GitHub writes them."""

from __future__ import annotations

from tfpilot.sandbox.github.render.places import Json, PlaceRenderer, html_url_of, node_id, time_text
from tfpilot.sandbox.github.state import Pull, Repo, Review
from tfpilot.sandbox.github.world import World

Ends = tuple[tuple[str, str], tuple[str, str]]


class PullRenderer:
    """Payloads of what is asked for under `/pulls`."""

    def __init__(self, world: World, places: PlaceRenderer, api_url: str) -> None:
        self._world = world
        self._places = places
        self._api_url = api_url

    def listed_pull(self, pull: Pull) -> Json:
        """A pull request as a list shows it: `merged` is not among its fields."""
        repo = self._world.repo(pull.repo_id)
        urls = self._pull_urls(pull, repo)
        head, base = (self._branch(repo, ref, sha) for ref, sha in ends_of(pull))
        return {
            **urls,
            "id": pull.id,
            "node_id": node_id("PullRequest", pull.id),
            "number": pull.number,
            "state": "open" if pull.is_open else "closed",
            "locked": False,
            "title": pull.title,
            "user": self._places.user(pull.author),
            "body": None,
            "created_at": time_text(pull.created_at),
            "updated_at": time_text(pull.updated_at),
            "closed_at": time_text(pull.closed_at),
            "merged_at": time_text(pull.merged_at),
            "merge_commit_sha": pull.merge_commit_sha,
            **dict.fromkeys(("assignee", "milestone", "auto_merge", "active_lock_reason"), None),
            **{name: [] for name in ("assignees", "requested_reviewers", "requested_teams", "labels")},
            "draft": False,
            "head": head,
            "base": base,
            "_links": _links(urls),
            "author_association": "MEMBER",
        }

    def pull(self, pull: Pull) -> Json:
        """A pull request asked for by itself."""
        is_merged = pull.merged_at is not None
        return {
            **self.listed_pull(pull),
            "merged": is_merged,
            "mergeable": True if pull.is_open else None,
            "rebaseable": True if pull.is_open else None,
            "mergeable_state": "clean" if pull.is_open else "unknown",
            "merged_by": self._places.user(pull.merged_by) if is_merged else None,
            **dict.fromkeys(("comments", "review_comments"), 0),
            "maintainer_can_modify": False,
            **dict.fromkeys(("commits", "additions", "changed_files"), 1),
            "deletions": 0,
        }

    def review(self, review: Review) -> Json:
        """A review. One that is not submitted has no time of it at all."""
        repo = self._world.repo(review.repo_id)
        pull_url = f"{self._api_url}/repos/{repo.full_name}/pulls/{review.pull_number}"
        html_url = f"{html_url_of(repo)}/pull/{review.pull_number}#pullrequestreview-{review.id}"
        return {
            "id": review.id,
            "node_id": node_id("PullRequestReview", review.id),
            "user": self._places.user(review.login),
            "body": review.body,
            "state": review.state,
            "html_url": html_url,
            "pull_request_url": pull_url,
            "author_association": "MEMBER",
            "_links": {"html": {"href": html_url}, "pull_request": {"href": pull_url}},
            **({"submitted_at": time_text(review.submitted_at)} if review.submitted_at else {}),
            "commit_id": review.commit_id,
        }

    def _branch(self, repo: Repo, ref: str, sha: str) -> Json:
        return {
            "label": f"{repo.owner}:{ref}",
            "ref": ref,
            "sha": sha,
            "user": self._places.user(repo.owner),
            "repo": self._places.repo(repo),
        }

    def _pull_urls(self, pull: Pull, repo: Repo) -> dict[str, str]:
        api, html = f"{self._api_url}/repos/{repo.full_name}", f"{html_url_of(repo)}/pull/{pull.number}"
        return {
            "url": f"{api}/pulls/{pull.number}",
            "html_url": html,
            "diff_url": f"{html}.diff",
            "patch_url": f"{html}.patch",
            "issue_url": f"{api}/issues/{pull.number}",
            "commits_url": f"{api}/pulls/{pull.number}/commits",
            "review_comments_url": f"{api}/pulls/{pull.number}/comments",
            "review_comment_url": f"{api}/pulls/comments{{/number}}",
            "comments_url": f"{api}/issues/{pull.number}/comments",
            "statuses_url": f"{api}/statuses/{pull.head_sha}",
        }


def ends_of(pull: Pull) -> Ends:
    """Branch and commit of its head, then of its base."""
    return (pull.branch, pull.head_sha), (pull.base, pull.base_sha)


def _links(urls: dict[str, str]) -> Json:
    of = {"self": "url", "html": "html_url", "issue": "issue_url", "comments": "comments_url"}
    rest = ("commits", "statuses", "review_comments", "review_comment")
    return {name: {"href": urls[url]} for name, url in {**of, **{name: f"{name}_url" for name in rest}}.items()}
