"""context.py: what a function's context holds."""

from __future__ import annotations

import os
import sys
import time
from typing import Dict

import pytest
from pyaction_bootstrap import context
from pyaction_bootstrap.context import Context

VARIABLES = {
    "__OW_ACTIVATION_ID": "the activation", "__OW_API_HOST": "the host", "__OW_API_KEY": "the key",
    "__OW_ACTION_NAME": "the function", "__OW_ACTION_VERSION": "the version", "__OW_NAMESPACE": "the namespace",
    "__OW_TRANSACTION_ID": "the request", "__OW_DEADLINE": "1675959023728",
}
TEXTS = ("activation_id", "api_host", "api_key", "function_name", "function_version", "namespace", "request_id")


@pytest.fixture(autouse=True)
def no_variables() -> None:
    for name in [name for name in os.environ if name.startswith("__OW_")]:
        del os.environ[name]


def test_attributes() -> None:
    got = Context(VARIABLES)
    assert {name: getattr(got, name) for name in TEXTS} == {
        "activation_id": "the activation", "api_host": "the host", "api_key": "the key",
        "function_name": "the function", "function_version": "the version",
        "namespace": "the namespace", "request_id": "the request"}
    assert got.deadline == 1675959023728 and type(got.deadline) is int
    assert vars(got).keys() == set(TEXTS) | {"deadline"}


def test_missing_is_empty() -> None:
    got = Context({})
    assert [getattr(got, name) for name in TEXTS] == [""] * len(TEXTS)


def test_the_process_stands_in_for_what_is_missing() -> None:
    os.environ.update({"__OW_API_HOST": "from the container", "__OW_NAMESPACE": "hidden", "__OW_DEADLINE": "17"})
    got = Context({"__OW_NAMESPACE": "of the activation"})
    assert (got.api_host, got.namespace, got.deadline) == ("from the container", "of the activation", 17)
    assert Context({"__OW_API_HOST": "", "__OW_DEADLINE": "5"}).api_host == ""


# Not a number for Pythons that limit its digits, which 3.9.2 does not.
LONG_NUMBERS = ["9" * 5000] if hasattr(sys, "set_int_max_str_digits") else []


@pytest.mark.parametrize(("text", "deadline"), [
    ("0", 0), ("1675959023728", 1675959023728), ("-5", -5), (" 12 ", 12), ("1675959023728.0", 1675959023728),
    ("1.5e3", 1500), ("99.9", 99),
])
def test_deadline(text: str, deadline: int) -> None:
    got = Context({"__OW_DEADLINE": text}).deadline
    assert got == deadline and type(got) is int


@pytest.mark.parametrize("text", [
    "", "soon", "null", "nan", "inf", "-Infinity", "1e999", *LONG_NUMBERS, "0x10", "{}", '"1"', "\ud800",
], ids=lambda text: ascii(text)[:20])
def test_deadline_that_is_none(text: str) -> None:
    before = int(time.time() * 1000)
    got = Context({"__OW_DEADLINE": text})
    assert before + context.DEFAULT_TIMEOUT_MS <= got.deadline <= int(time.time() * 1000) + context.DEFAULT_TIMEOUT_MS
    assert type(got.deadline) is int


def deadline_in(seconds: float) -> Dict[str, str]:
    return {"__OW_DEADLINE": str(int((time.time() + seconds) * 1000))}


def test_remaining_time() -> None:
    got = Context(deadline_in(30)).get_remaining_time_in_millis()
    assert type(got) is int and 20_000 < got <= 30_000
    assert Context(deadline_in(-1)).get_remaining_time_in_millis() == 0
    assert Context({"__OW_DEADLINE": "0"}).get_remaining_time_in_millis() == 0
    assert 0 < Context({}).get_remaining_time_in_millis() <= context.DEFAULT_TIMEOUT_MS


def test_remaining_time_goes_down(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(context if callable(context.time) else context.time, "time", lambda: now[0])
    got = Context({"__OW_DEADLINE": "1000500"})
    assert got.get_remaining_time_in_millis() == 500
    now[0] = 1000.4
    assert got.get_remaining_time_in_millis() == 100
    now[0] = 1000.6
    assert got.get_remaining_time_in_millis() == 0
