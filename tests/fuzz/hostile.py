"""Fifty requests, and what belongs to them, in which everything that may be any text is meant to do harm."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from tests.builders import NOW, ago, run
from tfpilot.core.document import render_document
from tfpilot.core.model import (
    Answer,
    FactOutcome,
    GitHubFacts,
    PullFact,
    RepoRef,
    Review,
    RunFact,
    WorkflowKind,
    WorkflowRun,
)

OWNED: Final = "window.__owned=1"
ELSEWHERE: Final = "http://evil.test"

TEXTS: Final[Mapping[str, str]] = {
    "script": f"<script>{OWNED}</script>",
    "image": f"<img src=x onerror={OWNED}>",
    "svg": f"<svg/onload={OWNED}>",
    "frame": f"<iframe srcdoc='<script>parent.{OWNED}</script>'></iframe>",
    "frame elsewhere": f"<iframe src={ELSEWHERE}/f></iframe>",
    "style": f"<style>@import '{ELSEWHERE}/s.css';*{{display:none}}</style>",
    "form": f"<form action={ELSEWHERE}><input name=q autofocus onfocus={OWNED}></form>",
    "meta": f"<meta http-equiv=refresh content='0;url={ELSEWHERE}'>",
    "attribute": f'"\' onmouseover={OWNED} x="',
    "closing": f"</textarea></title></script><script>{OWNED}</script>",
    "comment": f"<!--><script>{OWNED}</script>-->",
    "image in markdown": f"![x]({ELSEWHERE}/i.png)",
    "link in markdown": f"[click]({ELSEWHERE}/l)",
    "script link": f"[click](javascript:{OWNED})",
    "data link": f"[click](data:text/html,<script>{OWNED}</script>)",
    "reference": f"[a]\n\n[a]: {ELSEWHERE}/r",
    "bare link": f"{ELSEWHERE}/bare www.evil.test me@evil.test",
    "pointed link": f"<{ELSEWHERE}/pointed>",
    "broken label": f"a](x) [b]({ELSEWHERE}/b",
    "heading": "# owned\n## owned\n***\n> owned\n- owned",
    "table": "a | b\n--- | ---\nc | d",
    "emphasis": "**owned** _owned_ ~~owned~~",
    "icon": ":material/delete: :streamlit: :smile: :rocket:",
    "colour": ":red[owned] :blue-background[owned] :orange-badge[owned]",
    "small": ":small[owned] :shortcut[Ctrl+K]",
    "formula": r"$$\href{javascript:alert(1)}{x}$$ $\frac{1}{2}$",
    "formula link": r"$\url{http://evil.test}$ $\includegraphics{http://evil.test/i.png}$",
    "entity": "&lt;b&gt; &#60;script&#62; &amp;#x3c;img&#x3e; &colon;material",
    "code": "`owned` ``owned`` ```owned",
    "code with markup": f"` <img src=x onerror={OWNED}> ` **owned**",
    "fence": f"```\n<script>{OWNED}</script>\n```",
    "backslash": rf"\<script>{OWNED}\</script> \\<b>",
    "hyperlink": f'=HYPERLINK("{ELSEWHERE}","click")',
    "command": "+cmd|' /C calc'!A0",
    "minus": "-2+3+cmd|' /C calc'!A0",
    "sum": "@SUM(1+9)*cmd|' /C calc'!A0",
    "tab": "\t=1+1",
    "return": "\r=1+1",
    "quote": '","=1+1',
    "line": "a\n=1+1",
    "turned": "\u202egnp.exe\u2066 owned\u200b",
    "null": "a\x00b\x07c\x1b[31md\x7f\x9b2J",
    "title of a terminal": "\x1b]0;owned\x07\x1b]8;;http://evil.test\x1b\\x",
    "half a pair": "half \ud800 and \udfff",
    "long": "l" * 5000,
    "long with markup": f"<b>{'x' * 4900}</b>",
    "long line of marks": "*" * 3000 + "_" * 2000,
    "template": "{{7*7}} ${7*7} #{7*7} %s %n {0.__class__}",
    "path": "../../../../etc/passwd%00.json",
    "only blanks": " \u00a0\u3000 ",
}
assert len(TEXTS) == 50

ADDRESSES: Final = (
    f"javascript:{OWNED}//pull/7",
    f"JaVaScRiPt:{OWNED}",
    f"data:text/html,<script>{OWNED}</script>",
    f"{ELSEWHERE}/acme/infra/pull/7",
    "//evil.test/pull/7",
    "https://github.com@evil.test/pull/7",
    "https://evil.test\\@github.com/pull/7",
    "https://github.com.evil.test/pull/7",
    "https://github.com/a/b/pull/7\n<script>",
    "https://github.com/a)b](http://evil.test)/pull/7",
)
"""What stands where a link to GitHub is expected; each document has one of them."""


def id_of(number: int) -> str:
    return f"req_dev_hostile_{number}"


def documents() -> list[dict[str, Any]]:
    """A request per text, in every place where a text may stand."""
    return [hostile_request(number, text) for number, text in enumerate(TEXTS.values())]


def hostile_request(number: int, text: str) -> dict[str, Any]:
    """A request that hangs in planning, so that it has findings, with a pull request, runs, a lock and a history."""
    address = ADDRESSES[number % len(ADDRESSES)]
    ran = {"url": address, "htmlUrl": address, "headSha": text, "actor": text}
    pull = {
        "number": 7,
        "url": address,
        "open": True,
        "merged": False,
        "title": text,
        "headSha": text,
        "headBranch": text,
        "author": text,
    }
    plan = {**run(1000 + number, "in_progress", createdAt=ago(hours=2)), **ran}
    return {
        "id": id_of(number),
        "version": 1,
        "status": text,
        "project": text,
        "environment": "dev" if number % 2 else text,
        "module": text,
        "config": {"name": text, "tags": {"tfpilot:created_by": text, text: text}},
        "receivedAt": ago(hours=2),
        "updatedAt": ago(minutes=number),
        **({"targetOwner": "acme", "targetRepo": "infra"} if number % 2 else {"targetOwner": text, "targetRepo": text}),
        "targetBase": text,
        "targetEnvPath": "envs/dev" if number % 4 == 1 else text,
        "branchName": text,
        "commitSha": text,
        "mergedSha": text,
        "prNumber": 7,
        "prUrl": address,
        "github": {
            "pr": pull,
            "workflows": {
                "plan": plan,
                "apply": {**run(2000 + number, text, text), **ran},
                "cleanup": {"status": text},
            },
            "planTriggeredAt": ago(hours=2),
            "cleanupDispatchStatus": "error",
            "cleanupDispatchError": text,
            "cleanupDispatchLastError": text,
        },
        "planRun": {**plan, "status": text},
        "cleanupPr": {**pull, "number": 9},
        "approval": {"approved": True, "approvers": [text], "reviews": {text: {"state": text}}},
        "lock": {"holder": text, "operation": text, "expiresAt": ago(hours=1)},
        "timeline": [{"step": text, "message": text, "at": ago(minutes=5)}],
        text: text,
    }


def objects() -> Iterator[tuple[str, bytes]]:
    """Everything by its key: the requests, archived copies, histories, index entries, dispatches and deliveries."""
    for number, (document, text) in enumerate(zip(documents(), TEXTS.values(), strict=True)):
        id_ = document["id"]
        yield f"requests/{id_}.json", render_document(document)
        yield f"logs/{id_}/{ago(minutes=number)}.json", as_json(event(id_, text))
        yield f"webhooks/github/run-index/plan/run-{1000 + number}.json", as_json(entry(1000 + number, text, number))
        yield f"ops/dispatches/{id_}/n{number}.json", as_json(dispatch(id_, f"n{number}", text))
        yield f"ops/deliveries/d{number}.json", as_json(handled(f"d{number}", text))
        if number % 5 == 0:
            yield f"history/{id_}.json", render_document(document)
            yield f"ops/dead-letters/k{number}.json", as_json(kept(f"k{number}", text))
            yield f"webhooks/github/deliveries/s{number}.json", as_json({"event": text, "receivedAt": ago(hours=1)})
    yield "requests/req_dev_broken.json", f'{{"id": "<script>{OWNED}</script>"}}'.encode()
    yield "requests/<img src=x onerror=alert(1)>.json", b"{}"
    yield f"ops/marks/run-index/{'0' * 32}.json", as_json(mark(TEXTS["script"]))


def facts(text: str, number: int) -> GitHubFacts:
    """GitHub's answers about a request, as hostile as what is stored."""
    address = ADDRESSES[number % len(ADDRESSES)]
    pull = PullFact(number=7, url=address, open=True, merged=False, title=text, author=text, head_branch=text)
    ran = RunFact(run_id=1000 + number, status=text, conclusion=text, url=address, html_url=address, created_at=NOW)
    return GitHubFacts(
        pull=Answer(FactOutcome.OK, pull),
        reviews=Answer(FactOutcome.OK, (Review(text, "APPROVED", NOW),)),
        cleanup_pull=Answer(FactOutcome.FORBIDDEN, detail=text),
        runs={WorkflowKind.PLAN: Answer(FactOutcome.OK, WorkflowRun(ran, RepoRef("acme", "infra"), title=text))},
        calls=4,
    )


def lock(text: str) -> str:
    """What a lock says."""
    names = ("ID", "Operation", "Info", "Who", "Version", "Path")
    return json.dumps({**dict.fromkeys(names, text), "Created": ago(hours=3)})


def state(text: str) -> bytes:
    """What a Terraform state says."""
    resource = {"mode": text, "type": text, "name": text, "module": text, "provider": text}
    instances = [{"index_key": text, "attributes": {"password": text}}]
    fields = {"version": 4, "terraform_version": text, "serial": 3, "lineage": text, "outputs": {text: {}}}
    return as_json({**fields, "resources": [{**resource, "instances": instances}]})


def as_json(value: Any) -> bytes:
    return json.dumps(value).encode()


def event(id_: str, text: str) -> dict[str, Any]:
    return {
        "timestamp": ago(minutes=5),
        "requestId": id_,
        "event": text,
        "actor": text,
        "source": text,
        "data": {text: text, "list": [text, text, text], "nested": {text: [text]}},
    }


def entry(run_id: int, text: str, number: int) -> dict[str, Any]:
    """Some fit, some are another's, some are none."""
    owner = (id_of(number), "req_dev_nobody", text)[number % 3]
    return {"kind": "plan", "runId": run_id, "requestId": owner, "createdAt": ago(hours=2), "expiresAt": ago(days=-90)}


def dispatch(id_: str, nonce: str, text: str) -> dict[str, Any]:
    return {
        "requestId": id_,
        "nonce": nonce,
        "kind": "plan",
        "owner": text,
        "repo": text,
        "workflowFile": text,
        "ref": text,
        "inputs": {text: text},
        "operator": text,
        "triggeredAt": ago(hours=2),
        "state": "open",
        "detail": text,
        "settledBy": text,
    }


def handled(guid: str, text: str) -> dict[str, Any]:
    return {
        "deliveryId": guid,
        "event": text,
        "receivedAt": ago(minutes=3),
        "applied": False,
        "reason": text,
        "requestId": text,
        "repo": text,
        "sender": text,
    }


def kept(guid: str, text: str) -> dict[str, Any]:
    body = "e30="
    return {"deliveryId": guid, "event": text, "receivedAt": ago(minutes=3), "why": text, "bodyBase64": body}


def mark(text: str) -> dict[str, Any]:
    key = "webhooks/github/run-index/plan/run-1002.json"
    return {"code": "ORPHAN", "key": key, "ignored": True, "reason": text, "by": text, "at": ago(minutes=1)}
