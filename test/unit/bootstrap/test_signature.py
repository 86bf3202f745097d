"""signature.py: with what a handler is called, whatever its shape."""

from __future__ import annotations

import functools
from typing import Any, Callable

import pytest
from conftest import BOOT
from pyaction_bootstrap.signature import make_call

EVENT = {"name": "value"}
CONTEXT = object()


def plain_0() -> Any:
    return ()


def plain_1(event: Any) -> Any:
    return (event,)


def plain_2(event: Any, context: Any) -> Any:
    return (event, context)


def underscore(_: Any, context: Any) -> Any:
    return (_, context)


def swapped_names(context: Any, event: Any) -> Any:
    return (context, event)


def default_1(event: Any = None) -> Any:
    return (event,)


def default_2(event: Any, context: Any = None) -> Any:
    return (event, context)


def any_number(*args: Any) -> Any:
    return args


def one_and_any(event: Any, *args: Any) -> Any:
    return (event, *args)


def positional_only(event: Any, context: Any, /) -> Any:
    return (event, context)


def keyword_only_default(event: Any, *, flag: int = 1) -> Any:
    return (event,)


def one_and_keywords(event: Any, **kwargs: Any) -> Any:
    assert not kwargs
    return (event,)


async def asynchronous(event: Any) -> Any:
    return (event,)


class Holder:
    def method_0(self) -> Any:
        return ()

    def method_1(self, event: Any) -> Any:
        return (event,)

    def method_2(self, event: Any, context: Any) -> Any:
        return (event, context)

    @classmethod
    def of_class(cls, event: Any, context: Any) -> Any:
        return (event, context)

    @staticmethod
    def static(event: Any) -> Any:
        return (event,)


class Callable1:
    def __call__(self, event: Any) -> Any:
        return (event,)


class Callable2:
    def __call__(self, event: Any, context: Any) -> Any:
        return (event, context)


class Class1(tuple):  # type: ignore[type-arg]
    def __new__(cls, event: Any) -> Any:
        return (event,)


def wrapping(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def careless(function: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator without functools.wraps."""

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def careless_with(prefix: str) -> Callable[..., Any]:
    def decorator(function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any) -> Any:
            assert prefix
            return function(*args)

        return wrapper

    return decorator


def calling_with(*given: str) -> Callable[..., Any]:
    """A decorator whose wrapper has parameters of its own, and decides itself what the function gets of them."""

    def decorator(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def both(event: Any, context: Any) -> Any:
            function(*[{"event": event, "context": context}[name] for name in given])
            return (event, context)

        return both

    return decorator


def adding(function: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator whose wrapper takes less than the function."""

    @functools.wraps(function)
    def wrapper(event: Any) -> Any:
        return function(event, CONTEXT)[:1]

    return wrapper


def first_and_rest(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(event: Any, *rest: Any, **keywords: Any) -> Any:
        return function(event, *rest, **keywords)

    return wrapper


class Decorated:
    """A class as decorator, whose instances are called with both."""

    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)
        self._function = function

    def __call__(self, event: Any, context: Any) -> Any:
        self._function(event)
        return (event, context)


class DecoratedAny(Decorated):
    def __call__(self, *args: Any) -> Any:  # type: ignore[override]
        return self._function(*args)


@pytest.mark.parametrize(("handler", "arguments"), [
    (plain_0, 0), (plain_1, 1), (plain_2, 2), (underscore, 2), (swapped_names, 2), (default_1, 1), (default_2, 2),
    (any_number, 2), (one_and_any, 2), (positional_only, 2), (keyword_only_default, 1), (one_and_keywords, 1),
    (lambda: (), 0), (lambda event: (event,), 1), (lambda event, context: (event, context), 2),
    (Holder().method_0, 0), (Holder().method_1, 1), (Holder().method_2, 2), (Holder.of_class, 2),
    (Holder().of_class, 2), (Holder.static, 1), (Callable1(), 1), (Callable2(), 2), (Class1, 1),
    (functools.partial(plain_2), 2), (functools.partial(lambda extra, event: (event,), 0), 1),
    (functools.partial(lambda event, context, extra: (event, context), extra=0), 2),
    (functools.partial(lambda event, context: (event,), context=0), 1),
    (wrapping(plain_0), 0), (wrapping(plain_1), 1), (wrapping(plain_2), 2), (wrapping(wrapping(plain_1)), 1),
    (careless(plain_0), 0), (careless(plain_1), 1), (careless(plain_2), 2), (careless(careless(plain_1)), 1),
    (careless(wrapping(plain_1)), 1), (careless(Holder().method_1), 1), (careless_with("x")(plain_1), 1),
    (functools.lru_cache()(lambda event=None: (event,)), 1), (tuple, 1),
    (calling_with("event")(plain_1), 2), (calling_with()(plain_0), 2), (calling_with("context", "event")(plain_2), 2),
    (adding(plain_2), 1), (wrapping(adding(plain_2)), 1), (careless(adding(plain_2)), 1),
    (functools.partial(calling_with("event")(plain_1)), 2), (functools.partial(wrapping(plain_1)), 1),
    (first_and_rest(plain_1), 1), (first_and_rest(plain_2), 2), (first_and_rest(any_number), 2),
    (Decorated(plain_1), 2), (DecoratedAny(plain_1), 1), (DecoratedAny(plain_2), 2),
])
def test_positional_parameters(handler: Callable[..., Any], arguments: int) -> None:
    event = (EVENT,) if handler is tuple else 1 if hasattr(handler, "cache_info") else EVENT
    result = make_call(handler)(event, CONTEXT)
    if handler is tuple:
        assert result == event
    else:
        assert result == (event, CONTEXT)[:arguments]
        assert all(got is given for got, given in zip(result, (event, CONTEXT)))


def test_asynchronous() -> None:
    coroutine = make_call(asynchronous)(EVENT, CONTEXT)
    with pytest.raises(StopIteration) as caught:
        coroutine.send(None)
    assert caught.value.value == (EVENT,)


def test_keywords_only() -> None:
    def members(**event: Any) -> Any:
        return event

    assert make_call(members)(EVENT, CONTEXT) == EVENT
    assert make_call(members)([1], CONTEXT) == {}
    assert make_call(wrapping(members))(EVENT, CONTEXT) == EVENT


def test_two_callables_in_the_closure_are_not_guessed_at() -> None:
    def wrapper(*args: Any) -> Any:
        return args if one and other else None

    one, other = plain_1, plain_1
    assert make_call(wrapper)(EVENT, CONTEXT) == (EVENT, CONTEXT)


def test_empty_cell_in_the_closure() -> None:
    def make() -> Callable[..., Any]:
        def wrapper(*args: Any) -> Any:
            return args if args else late

        if False:
            late = 1
        return wrapper

    assert make_call(make())(EVENT, CONTEXT) == (EVENT, CONTEXT)


def test_itself_in_the_closure() -> None:
    def outer() -> Callable[..., Any]:
        def recursive(*args: Any) -> Any:
            return args if args else recursive

        return recursive

    assert make_call(outer())(EVENT, CONTEXT) == (EVENT, CONTEXT)


def test_built_in_that_does_not_tell() -> None:
    assert make_call(dict)({"a": 1}, CONTEXT) == {"a": 1}  # inspect.signature(dict) raises ValueError


def test_too_many_parameters_fail_in_the_call() -> None:
    call = make_call(lambda a, b, c: None)
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'c'"):
        call(EVENT, CONTEXT)
    call = make_call(lambda event, *, must: None)
    with pytest.raises(TypeError, match="must"):
        call(EVENT, CONTEXT)


def test_nothing_is_called_before() -> None:
    calls = []
    make_call(lambda event: calls.append(event))
    make_call(careless(lambda event: calls.append(event)))
    assert not calls


def test_wrapped_by_itself() -> None:
    def handler(*args: Any) -> Any:
        return args

    handler.__wrapped__ = handler  # type: ignore[attr-defined]
    assert make_call(handler)(EVENT, CONTEXT) == (EVENT, CONTEXT)


def test_methods_of_other_callables() -> None:
    """A bound method whose function is no plain one."""
    import types

    assert make_call(types.MethodType(functools.partial(plain_2), EVENT))(CONTEXT, None) == (EVENT, CONTEXT)
    assert make_call(types.MethodType(wrapping(plain_2), EVENT))(CONTEXT, None) == (EVENT, CONTEXT)
    assert make_call(types.MethodType(any_number, "self"))(EVENT, CONTEXT) == ("self", EVENT, CONTEXT)
    assert make_call({"a": 1}.get)("a", CONTEXT) == 1


def test_the_usual_kinds_need_no_inspect(python: Callable[..., Any]) -> None:
    """It takes some ms to import."""
    done = python(BOOT + """
import sys
from pyaction_bootstrap.signature import make_call
class Usual:
    def method(self, event): pass
    def __call__(self, event, context): pass
    @classmethod
    def of_class(cls, event): pass
    @staticmethod
    def static(event): pass
def decorator(function):
    def wrapper(*args): return function(*args)
    return wrapper
async def asynchronous(event): pass
usual = Usual()
for handler in (usual.method, usual, usual.of_class, usual.static, decorator(usual.method), asynchronous, lambda: 0):
    make_call(handler)
print("inspect" in sys.modules)
""")
    assert (done.stdout, done.stderr) == ("False\n", "")


def test_signature_attribute() -> None:
    """A handler may say how it is called."""
    import inspect

    class Proxy:
        __signature__ = inspect.signature(plain_1)

        def __call__(self, *args: Any) -> Any:
            return args

    assert make_call(Proxy())(EVENT, CONTEXT) == (EVENT,)
