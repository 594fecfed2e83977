"""What a page in a test sends to the browser, and what of it the browser would act on."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from google.protobuf.message import Message
from markdown_it import MarkdownIt
from streamlit.testing.v1 import AppTest

_AS_IT_IS: Final = frozenset(
    {
        "code_text",
        "id",
        "form_id",
        "query_string",
        "page",
        "element_id",
        "columns",
        "hash",
        "spec",
        "alt",
        "url",
        "placeholder",
    }
)
"""Fields that are no Markdown, whatever stands in them."""
_OWN_STYLE: Final = re.compile(r"<style>[^<]*</style>")
_MARKDOWN: Final = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
_ADDRESSES: Final = re.compile(
    r"https://github\.com(/[!-~]*)?|https://health\.aws\.amazon\.com(/[!-~]*)?|request\?id=req_[a-z0-9_]+|/?[a-z_]*(\?[!-~]*)?|/mock/media/[0-9a-f.a-z]+"
)
_HOSTILE: Final = (":rocket:", ":streamlit:", ":red[owned]", ":small[owned]", ":shortcut[", "$$", "$\\", "me@evil.test",
                   "www.evil.test", "http://evil.test")  # fmt: skip
"""What Streamlit makes of a text beyond Markdown, and no page of ours writes itself."""


@dataclass(frozen=True)
class Sent:
    """One text or address that was sent, and where it stands."""

    where: str
    text: str


def markdown_of(at: AppTest) -> Iterator[Sent]:
    """Every text that the browser takes for Markdown: bodies, labels, help, titles, and the cells of tables."""
    for kind, proto in _protos(at):
        for where, text in _texts(proto, kind):
            yield Sent(where, text)
    for table in (each.value for each in at.table):
        for column in table.columns:
            yield Sent("table", str(column))
            yield from (Sent(f"table {column}", cell) for cell in table[column] if isinstance(cell, str))


def links_of(at: AppTest) -> Iterator[Sent]:
    """The addresses that tables and links lead to, but for those in Markdown."""
    for table in at.dataframe:
        columns = json.loads(table.proto.columns or "{}")
        for name, settings in columns.items():
            if (settings.get("type_config") or {}).get("type") == "link" and name in table.value.columns:
                yield from (
                    Sent(f"column {name}", cell) for cell in table.value[name] if isinstance(cell, str) and cell
                )
    for kind, proto in _protos(at):
        for field in ("url", "page"):
            address = getattr(proto, field, "")
            if isinstance(address, str) and address:
                yield Sent(f"{kind}.{field}", address)


@cache
def acts_of(text: str) -> Sequence[str]:
    """What the browser would do with the text besides showing it; empty where it would only show it."""
    acts, shown = [], []
    for token in _tokens(text):
        if token.type in {"html_inline", "html_block", "image"} and not _OWN_STYLE.fullmatch(token.content.strip()):
            acts.append(f"{token.type} {token.content[:80]}")
        elif token.type == "link_open" and not leads_to_known(str(token.attrs["href"])):
            acts.append(f"link {token.attrs['href']}")
        elif token.type in {"fence", "code_block", "s_open", "hr", "bullet_list_open", "blockquote_open"}:
            acts.append(token.type)
        elif token.type == "text":
            shown.append(token.content)
        elif token.type in {"strong_open", "em_open"}:
            shown.append("\x01")
    outside_code = _without_code_and_escapes(text)
    acts += [mark for mark in _HOSTILE if mark in outside_code]
    if "\x01owned" in "".join(shown):
        acts.append("emphasis")
    if re.search(r"<[A-Za-z/!?]", _OWN_STYLE.sub("", outside_code)):
        acts.append("markup")
    if re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text):
        acts.append("control or direction")
    return acts


def leads_to_known(address: str) -> bool:
    """Whether the address is one of GitHub's, of the portal itself, or the one of AWS that it names."""
    return _ADDRESSES.fullmatch(address) is not None


def _tokens(text: str) -> Iterator[Any]:
    for token in _MARKDOWN.parse(text):
        yield token
        yield from token.children or ()


def _without_code_and_escapes(text: str) -> str:
    """The text outside inline code, where an escaped character cannot begin anything."""
    without = re.sub(r"\]\([^()\s]*\)", "] ", text)  # where links lead is looked at as such
    without = re.sub(r"(?<![\\`])(`+)(?!`).+?(?<!`)\1(?!`)", " ", without, flags=re.DOTALL)
    return re.sub(r"\\[!-/:-@\[-`{-~]", "\x02", without)


def _protos(at: AppTest) -> Iterator[tuple[str, Any]]:
    for block in (at.main, at.sidebar):
        for node in block:
            if isinstance(getattr(node, "proto", None), Message):
                yield str(node.type), node.proto


def _texts(proto: Message, where: str) -> Iterator[tuple[str, str]]:
    """The texts in a message, but for those of tables, which AppTest reads itself."""
    for field, value in proto.ListFields():
        if field.name in _AS_IT_IS:
            continue
        for each in [value] if isinstance(value, str | Message) else value if hasattr(value, "append") else []:
            if isinstance(each, Message):
                yield from _texts(each, f"{where}.{field.name}")
            elif isinstance(each, str):
                yield f"{where}.{field.name}", each
