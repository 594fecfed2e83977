"""Stored values that must be as they were written, where nothing may be guessed.

KeyError for what is missing, TypeError for what has another type: the reader makes of both the error that names the
object.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tfpilot.core.model import JsonObject


def object_in(value: object) -> JsonObject:
    if not isinstance(value, Mapping):
        raise TypeError("not an object")
    return value


def list_in(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError("not a list")
    return value


def texts_in(value: object) -> tuple[str, ...]:
    listed = list_in(value)
    if not all(isinstance(each, str) for each in listed):
        raise TypeError("not texts")
    return tuple(listed)


def whole_in(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError("not a whole number")
    return value


def objects_at(stored: JsonObject, name: str) -> list[JsonObject]:
    return [object_in(each) for each in list_in(stored[name])]


def text_at(stored: JsonObject, name: str) -> str:
    value = stored[name]
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value


def text_or_none_at(stored: JsonObject, name: str) -> str | None:
    return None if stored[name] is None else text_at(stored, name)


def whole_or_none_at(stored: JsonObject, name: str) -> int | None:
    return None if stored[name] is None else whole_in(stored[name])


def flag_at(stored: JsonObject, name: str) -> bool:
    value = stored[name]
    if not isinstance(value, bool):
        raise TypeError("not true or false")
    return value
