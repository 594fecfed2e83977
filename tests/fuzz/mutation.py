"""Valid samples, and what a hostile or broken hand makes of them: other types, other bytes, more than fits."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any, Final

from hypothesis import strategies as st


def nested(depth: int) -> Any:
    """A list in a list, that deep; every second one is an object."""
    value: Any = "core"
    for level in range(depth):
        value = [value] if level % 2 else {"a": value}
    return value


HOSTILE: Final[tuple[Any, ...]] = (
    None,
    True,
    False,
    0,
    -1,
    1.5,
    1e308,
    2**63,
    -(2**70),
    10**4000,
    float("nan"),
    float("inf"),
    "",
    " ",
    "\ud800",
    "a\u0000b",
    "\u202egnp.exe",
    "\x1b[2J\x1b]0;owned\x07",
    "é" * 40,
    "x" * 5000,
    "../../etc/passwd",
    "2026-02-30T25:61:61Z",
    "9999-12-31T23:59:59+14:00",
    "0001-01-01T00:00:00-14:00",
    "2026-03-02T12:00:00.000Z",
    "req_" + "a" * 300,
    "req_dev_s3_abc123\n",
    "=HYPERLINK(1)",
    "<script>x</script>",
    "plan",
    "١٢٣",
    [],
    {},
    [[]],
    [None],
    {"": None},
    {"a": {"b": 1}},
    ["x"] * 300,
    {"k" * 5000: "v"},
    nested(50),
    nested(150),
)
"""What may stand in the place of any value."""

TIMES_SWAPPED: Final = 3


def render(tree: Any) -> bytes:
    """JSON as Python writes it where nobody forbids anything: NaN, Infinity, and halves of surrogates as escapes."""
    return json.dumps(tree).encode("ascii")


@st.composite
def mutated(draw: st.DrawFn, samples: tuple[bytes, ...], *, as_json: bool = True) -> bytes:
    """The bytes of one of the samples, whole in one case of some, else with values or bytes changed."""
    content = draw(st.sampled_from(samples))
    if as_json:
        content = _with_values_swapped(draw, content)
    for _ in range(draw(st.sampled_from((0, 0, 0, 1, 2)))):
        content = _with_bytes_changed(draw, content)
    return content


def _with_values_swapped(draw: st.DrawFn, content: bytes) -> bytes:
    tree = copy.deepcopy(json.loads(content))
    for _ in range(draw(st.integers(0, TIMES_SWAPPED))):
        places = list(_places(tree))
        if not places:
            break
        holder, at = places[draw(st.integers(0, len(places) - 1))]
        how = draw(st.sampled_from(("swap", "swap", "swap", "swap", "drop", "rename", "copy")))
        if how == "drop":
            del holder[at]
        elif how == "rename" and isinstance(holder, dict):
            holder[draw(st.sampled_from(("", "\ud800", "k" * 2000, "__proto__", "a\u0000")))] = holder.pop(at)
        elif how == "copy":
            holder[at] = copy.deepcopy(places[draw(st.integers(0, len(places) - 1))][0])
        else:
            holder[at] = copy.deepcopy(draw(st.sampled_from(HOSTILE)))
    return render(tree)


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in a tree that holds a value, a bounded number of levels down."""
    level = [tree]
    for _ in range(8):
        below = []
        for node in level:
            for at in list(node) if isinstance(node, dict) else range(min(len(node), 20)):
                yield node, at
                if isinstance(node[at], dict | list):
                    below.append(node[at])
        level = below


def _with_bytes_changed(draw: st.DrawFn, content: bytes) -> bytes:
    at = draw(st.integers(0, len(content)))
    match draw(st.sampled_from(("cut", "insert", "insert", "replace", "twice", "deep", "key"))):
        case "cut":
            return content[:at]
        case "insert":
            return content[:at] + draw(st.sampled_from(PIECES)) + content[at:]
        case "replace":
            return content[:at] + draw(st.binary(min_size=1, max_size=2)) + content[at + 1 :]
        case "twice":
            return content + content
        case "deep":
            opening, closing = draw(st.sampled_from(((b"[", b"]"), (b'{"a":', b"}"))))
            depth = draw(st.sampled_from((99, 101, 5000, 200_000)))
            return opening * depth + content + closing * draw(st.sampled_from((0, depth)))
        case _:
            first = content.find(b"{") + 1
            return content[:first] + draw(st.sampled_from(TWINS)) + content[first:]


PIECES: Final = (
    b"\x00",
    b"\xff\xfe",
    b"\xed\xa0\x80",  # half a surrogate pair, as CESU writes it
    b"\xc0\xaf",
    b"\xef\xbb\xbf",
    b'"',
    b"\\",
    b"\\ud800",
    b"\n\r\t",
    b"NaN",
    b"-Infinity",
    b"1e999",
    b"9" * 5000,
    b"{" * 50,
    b"a" * 3000,
    b"=",
    b"]]",
)
TWINS: Final = (b'"id":1,', b'"id":"req_other",', b'"version":[],', b'"number":{},', b'"kind":[],', b'"":0,')
