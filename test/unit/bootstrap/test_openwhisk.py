"""openwhisk.py: what becomes of a handler's result."""

from __future__ import annotations

import asyncio
import collections
import json
from typing import Any, Callable, Tuple

import pytest
from pyaction_bootstrap import openwhisk
from pyaction_bootstrap.openwhisk import Function, error_document


def run(handler: Callable[..., Any], event: Any = None, **variables: str) -> Tuple[str, Any]:
    """Status and payload, parsed."""
    status, payload = Function(handler).run({"value": {} if event is None else event}, variables)
    assert isinstance(payload, bytes) and b"\n" not in payload
    return status, json.loads(payload)


@pytest.mark.parametrize(("result", "status", "payload"), [
    (None, "success", {}), ({}, "success", {}), ({"a": 1}, "success", {"a": 1}), ([], "success", []),
    ([1, "x"], "success", [1, "x"]), ((1, 2), "success", [1, 2]),
    ({"body": "x", "statusCode": 404}, "success", {"body": "x", "statusCode": 404}),
    ({"error": "text"}, "application_error", {"error": "text"}),
    ({"error": None, "a": 1}, "application_error", {"error": None, "a": 1}),
    (["error"], "success", ["error"]), (collections.OrderedDict(error=1), "application_error", {"error": 1}),
    (collections.OrderedDict(b=1), "success", {"b": 1}), ({1: 2}, "success", {"1": 2}),
])
def test_results(result: Any, status: str, payload: Any) -> None:
    assert run(lambda: result) == (status, payload)


@pytest.mark.parametrize("result", [
    "text", "", 0, 1, 1.5, True, False, b"x", {1}, object(), iter([1]),
], ids=lambda value: type(value).__name__)
def test_wrong_types(result: Any, capsys: pytest.CaptureFixture[str]) -> None:
    text = "The action did not return a dictionary or array."
    assert run(lambda: result) == ("function_error", {"error": text})
    assert capsys.readouterr().err == f"{text} It returned a value of type {type(result).__name__}.\n"


def test_result_that_json_cannot_hold(capsys: pytest.CaptureFixture[str]) -> None:
    text = "The result cannot be converted to JSON: result['a'][0] is of type set"
    assert run(lambda: {"a": [{1}]}) == ("function_error", {"error": text})
    assert capsys.readouterr().err == text + "\n"


def test_context_as_result() -> None:
    status, payload = run(lambda event, context: {"context": context})
    assert status == "function_error" and "result['context'] is of type Context" in payload["error"]


def test_event_and_context() -> None:
    def handler(event: Any, context: Any) -> Any:
        return {"event": event, "id": context.activation_id, "deadline": context.deadline}

    assert run(handler, {"x": 1}, __OW_ACTIVATION_ID="the id", __OW_DEADLINE="17") == (
        "success", {"event": {"x": 1}, "id": "the id", "deadline": 17})
    assert run(lambda event: {"event": event}, [1, 2]) == ("success", {"event": [1, 2]})


def test_same_function_again() -> None:
    calls = []
    function = Function(lambda event: {"calls": calls.append(event) or len(calls)})
    assert [json.loads(function.run({}, {})[1]) for _ in range(3)] == [{"calls": 1}, {"calls": 2}, {"calls": 3}]


class Odd(BaseException):
    pass


@pytest.mark.parametrize(("error", "text"), [
    (ValueError("text"), "text"), (ValueError(), "ValueError"), (KeyError("k"), "'k'"), (GeneratorExit("x"), "x"),
    (KeyboardInterrupt(), "KeyboardInterrupt"), (Odd("odd"), "odd"), (ValueError("lone \ud800 é"), "lone \\ud800 é"),
    (MemoryError(), "MemoryError"), (StopIteration(5), "5"), (RecursionError("deep"), "deep"),
])
def test_exceptions(error: BaseException, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    def handler() -> Any:
        raise error

    assert run(handler) == ("function_error", {"error": text})
    written = capsys.readouterr()
    assert written.out == "" and written.err.startswith("Traceback") and type(error).__name__ in written.err


def test_real_recursion(capsys: pytest.CaptureFixture[str]) -> None:
    def handler() -> Any:
        return handler()

    status, payload = run(handler)
    assert status == "function_error" and "recursion" in payload["error"]
    assert run(lambda: {}) == ("success", {})


@pytest.mark.parametrize("code", [None, 0, 3, "text"])
def test_system_exit_goes_through(code: Any) -> None:
    def handler() -> Any:
        raise SystemExit(code)

    with pytest.raises(SystemExit) as caught:
        Function(handler).run({}, {})
    assert caught.value.code == code


def test_wrong_number_of_parameters(capsys: pytest.CaptureFixture[str]) -> None:
    status, payload = run(lambda a, b, c: {})
    assert status == "function_error" and "missing 1 required positional argument: 'c'" in payload["error"]
    assert "Traceback" in capsys.readouterr().err


# --- async


def test_coroutines_share_a_loop() -> None:
    loops = []

    async def handler(event: Any, context: Any) -> Any:
        loops.append(asyncio.get_running_loop())
        await asyncio.sleep(0)
        return {"event": event}

    assert [run(handler, {"n": n}) for n in range(3)] == [("success", {"event": {"n": n}}) for n in range(3)]
    assert loops[0] is loops[1] is loops[2]


def test_tasks_go_on_in_the_next_activation() -> None:
    done = []

    async def later() -> None:
        await asyncio.sleep(0)
        done.append(1)

    async def start() -> Any:
        start.task = asyncio.get_running_loop().create_task(later())  # type: ignore[attr-defined]
        return {}

    async def wait() -> Any:
        await start.task  # type: ignore[attr-defined]
        return {"done": done}

    assert run(start) == ("success", {})
    assert run(wait) == ("success", {"done": [1]})


def test_a_closed_loop_is_replaced() -> None:
    async def handler() -> Any:
        return {}

    assert run(handler) == ("success", {})
    openwhisk._loop.close()
    assert run(handler) == ("success", {})


def test_async_exceptions() -> None:
    async def handler() -> Any:
        await asyncio.sleep(0)
        raise ValueError("async")

    async def leave() -> Any:
        raise SystemExit(3)

    async def cancelled() -> Any:
        raise asyncio.CancelledError

    assert run(handler) == ("function_error", {"error": "async"})
    assert run(cancelled) == ("function_error", {"error": "CancelledError"})
    with pytest.raises(SystemExit):
        Function(leave).run({}, {})
    assert run(lambda: {}) == ("success", {})


def test_other_awaitables() -> None:
    class Awaitable:
        def __await__(self) -> Any:
            yield from asyncio.sleep(0).__await__()
            return {"awaited": True}

    async def inner() -> Any:
        return {"inner": 1}

    assert run(lambda: Awaitable()) == ("success", {"awaited": True})
    assert run(lambda: inner()) == ("success", {"inner": 1})


def test_a_dict_that_is_not_awaitable_though_it_says_so() -> None:
    assert run(lambda: {"__await__": 1}) == ("success", {"__await__": 1})


# --- error documents


@pytest.mark.parametrize(("text", "document"), [
    ("text", b'{"error": "text"}'), ("", b'{"error": ""}'), ('"\\\n', b'{"error": "\\"\\\\\\n"}'),
    ("é😀", '{"error": "é😀"}'.encode()), ("\ud800", b'{"error": "\\\\ud800"}'),
])
def test_error_document(text: str, document: bytes) -> None:
    assert error_document(text) == document
