"""Accounts, repositories and quota as GitHub writes them, and what every payload is made with."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any, Final

from tfpilot.sandbox.github.quota import Budget
from tfpilot.sandbox.github.state import Repo, User
from tfpilot.sandbox.github.world import World

Json = dict[str, Any]

HTML_URL: Final = "https://github.com"

REPO_URLS: Final = {
    "archive_url": "/{archive_format}{/ref}",
    "assignees_url": "/assignees{/user}",
    "blobs_url": "/git/blobs{/sha}",
    "branches_url": "/branches{/branch}",
    "collaborators_url": "/collaborators{/collaborator}",
    "comments_url": "/comments{/number}",
    "commits_url": "/commits{/sha}",
    "compare_url": "/compare/{base}...{head}",
    "contents_url": "/contents/{+path}",
    "contributors_url": "/contributors",
    "deployments_url": "/deployments",
    "downloads_url": "/downloads",
    "events_url": "/events",
    "forks_url": "/forks",
    "git_commits_url": "/git/commits{/sha}",
    "git_refs_url": "/git/refs{/sha}",
    "git_tags_url": "/git/tags{/sha}",
    "hooks_url": "/hooks",
    "issue_comment_url": "/issues/comments{/number}",
    "issue_events_url": "/issues/events{/number}",
    "issues_url": "/issues{/number}",
    "keys_url": "/keys{/key_id}",
    "labels_url": "/labels{/name}",
    "languages_url": "/languages",
    "merges_url": "/merges",
    "milestones_url": "/milestones{/number}",
    "notifications_url": "/notifications{?since,all,participating}",
    "pulls_url": "/pulls{/number}",
    "releases_url": "/releases{/id}",
    "stargazers_url": "/stargazers",
    "statuses_url": "/statuses/{sha}",
    "subscribers_url": "/subscribers",
    "subscription_url": "/subscription",
    "tags_url": "/tags",
    "teams_url": "/teams",
    "trees_url": "/git/trees{/sha}",
}
USER_URLS: Final = {
    "followers_url": "/followers",
    "following_url": "/following{/other_user}",
    "gists_url": "/gists{/gist_id}",
    "starred_url": "/starred{/owner}{/repo}",
    "subscriptions_url": "/subscriptions",
    "organizations_url": "/orgs",
    "repos_url": "/repos",
    "events_url": "/events{/privacy}",
    "received_events_url": "/received_events",
}


class PlaceRenderer:
    """Payloads whose API addresses begin with `api_url`, the address the caller used."""

    def __init__(self, world: World, api_url: str) -> None:
        self._world = world
        self._api_url = api_url

    def user(self, login: str) -> Json:
        """A simple user."""
        user = self._world.user(login)
        url = f"{self._api_url}/users/{user.login}"
        return {
            "login": user.login,
            "id": user.id,
            "node_id": node_id("User", user.id),
            "avatar_url": f"https://avatars.githubusercontent.com/u/{user.id}?v=4",
            "gravatar_id": "",
            "url": url,
            "html_url": f"{HTML_URL}/{user.login}",
            **{name: url + path for name, path in USER_URLS.items()},
            "type": "User",
            "user_view_type": "public",
            "site_admin": False,
        }

    def private_user(self, user: User) -> Json:
        """The user who asks."""
        facts = dict.fromkeys(("name", "company", "blog", "location", "email", "hireable", "bio", "twitter_username"))
        counts = (
            "public_repos public_gists followers following private_gists total_private_repos owned_private_repos "
            "disk_usage collaborators"
        )
        joined = {"created_at": "2015-01-01T00:00:00Z", "updated_at": "2015-01-01T00:00:00Z"}
        return {
            **self.user(user.login),
            **facts,
            **dict.fromkeys(counts.split(), 0),
            **joined,
            "two_factor_authentication": True,
        }

    def minimal_repo(self, repo: Repo) -> Json:
        """A repository as a run shows it."""
        url = f"{self._api_url}/repos/{repo.full_name}"
        return {
            "id": repo.id,
            "node_id": node_id("Repository", repo.id),
            "name": repo.name,
            "full_name": repo.full_name,
            "private": True,
            "owner": self.user(repo.owner),
            "html_url": html_url_of(repo),
            "description": None,
            "fork": False,
            "url": url,
            **{name: url + path for name, path in REPO_URLS.items()},
        }

    def repo(self, repo: Repo) -> Json:
        """A repository as a pull request shows it."""
        open_pulls = sum(pull.is_open for pull in self._world.pulls(repo))
        html_url = html_url_of(repo)
        return {
            **self.minimal_repo(repo),
            "created_at": time_text(repo.created_at),
            "updated_at": time_text(repo.created_at),
            "pushed_at": time_text(repo.created_at),
            "git_url": f"git://github.com/{repo.full_name}.git",
            "ssh_url": f"git@github.com:{repo.full_name}.git",
            "clone_url": f"{html_url}.git",
            "svn_url": html_url,
            **dict.fromkeys(("homepage", "language", "mirror_url", "license"), None),
            **dict.fromkeys(("size", "forks", "forks_count", "watchers", "watchers_count", "stargazers_count"), 0),
            "open_issues": open_pulls,
            "open_issues_count": open_pulls,
            **dict.fromkeys(("has_issues", "has_projects", "has_downloads", "has_wiki"), True),
            **dict.fromkeys(("has_pages", "has_discussions", "archived", "disabled", "is_template"), False),
            **dict.fromkeys(("allow_forking", "web_commit_signoff_required"), False),
            "topics": [],
            "visibility": "private",
            "default_branch": repo.default_branch,
        }

    def full_repo(self, repo: Repo) -> Json:
        """A repository asked for by itself."""
        rights = {"admin": False, "maintain": False, "push": True, "triage": True, "pull": True}
        return {**self.repo(repo), "permissions": rights, "network_count": 0, "subscribers_count": 0}

    def rate_limit(self, budget: Budget) -> Json:
        """The quota of who asks; only `core` is ever spent."""
        core = {
            "limit": budget.limit,
            "used": budget.used,
            "remaining": budget.remaining,
            "reset": int(budget.reset_at.timestamp()),
        }
        untouched = {**core, "used": 0, "remaining": budget.limit}
        resources = {"core": core, "search": {**untouched, "limit": 30, "remaining": 30}, "graphql": untouched}
        return {"resources": resources, "rate": core}


def html_url_of(repo: Repo) -> str:
    return f"{HTML_URL}/{repo.full_name}"


def node_id(kind: str, number: int) -> str:
    return base64.b64encode(f"{kind}{number}".encode()).decode()


def time_text(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
