"""How many of (event, context) a handler takes.

DigitalOcean documents the parameter lists (), (event), (event, context) and (_, context); its runtime looks at
co_argcount alone, which fails for *args, decorators, callables, partials and bound methods. Here the signature
decides.
"""

from __future__ import annotations

from pyaction_bootstrap import stdlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Optional, Tuple

_VARARGS = 0x04
_VARKEYWORDS = 0x08


# More positional parameters than anybody counts: *args.
_ANY = 100


def make_call(handler: Callable[..., Any]) -> Callable[[Any, Any], Any]:
    """A function of (event, context) that calls handler with as many of them as it takes.

    A handler that takes keyword arguments only, main(**event), gets the members of the event. Nothing is
    called here; a signature that nothing fits fails in the call, with Python's own TypeError.
    """
    try:
        count, keywords = _count_positional(handler)
    except RecursionError:  # it wraps itself
        count, keywords = _ANY, False
    if count >= 2:
        return handler
    if count == 1:
        return lambda event, context: handler(event)
    if keywords:
        return lambda event, context: handler(**event) if isinstance(event, dict) else handler()
    return lambda event, context: handler()


class _Example:
    def method(self) -> None:
        """Bound, it has the type of bound methods, for which types would have to be imported."""


_FUNCTION: Any = type(make_call)
_METHOD: Any = type(_Example().method)


def _count_positional(handler: Any) -> Tuple[int, bool]:
    """The number of positional parameters, _ANY for any number, and whether ** is all that it takes.

    The usual kinds of callables are taken apart here; inspect, which is slow to import, does the rest.
    """
    if type(handler) is _METHOD:
        count, keywords = _count_positional(handler.__func__)
        return count if count == _ANY else max(0, count - 1), keywords
    if type(handler) is _FUNCTION:
        return _count_of_function(handler)
    if hasattr(handler, "__signature__"):
        return _count_of_signature(handler)
    if not isinstance(handler, type) and type(getattr(type(handler), "__call__", None)) is _FUNCTION:
        count, keywords = _count_positional(handler.__call__)
        if count < _ANY or not hasattr(handler, "__wrapped__"):
            return count, keywords
    if hasattr(handler, "__wrapped__"):
        return _count_positional(handler.__wrapped__)
    return _count_of_signature(handler)


def _count_of_function(function: Any) -> Tuple[int, bool]:
    """What the function itself can be called with. Only what its *args leaves open is said by the one that it wraps:
    a wrapper with parameters of its own, as (event, context), may call that in its own way."""
    code = function.__code__
    if not code.co_flags & _VARARGS:
        return code.co_argcount, code.co_argcount == 0 and bool(code.co_flags & _VARKEYWORDS)
    if hasattr(function, "__signature__"):
        return _count_of_signature(function)
    inner = getattr(function, "__wrapped__", None) or _decorated(function, code)
    if inner is None:
        return _ANY, False
    count, keywords = _count_positional(inner)
    return max(count, code.co_argcount), keywords


def _decorated(wrapper: Any, code: Any) -> Optional[Callable[..., Any]]:
    """The function inside a decorator's wrapper(*args, **kwargs) made without functools.wraps: the one
    callable that it closes over. None when there are none or several."""
    if code.co_argcount > 0 or not wrapper.__closure__:
        return None
    found: List[Callable[..., Any]] = []
    for cell in wrapper.__closure__:
        try:
            content = cell.cell_contents
        except ValueError:  # empty
            continue
        if callable(content) and content is not wrapper:
            found.append(content)
    return found[0] if len(found) == 1 else None


def _count_of_signature(handler: Callable[..., Any]) -> Tuple[int, bool]:
    """The same by inspect: of the callable itself, then, if that is *args or not known, of what it wraps."""
    inspect = stdlib.load("inspect")
    found = 1, False  # of a built-in that does not tell
    for follow_wrapped in (False, True):
        try:
            parameters: Dict[str, Any] = dict(inspect.signature(handler, follow_wrapped=follow_wrapped).parameters)
        except (ValueError, TypeError):
            continue
        kinds = [parameter.kind for parameter in parameters.values()]
        if inspect.Parameter.VAR_POSITIONAL not in kinds:
            named = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
            count = sum(map(kinds.count, named))
            return count, count == 0 and inspect.Parameter.VAR_KEYWORD in kinds
        found = _ANY, False
    return found
