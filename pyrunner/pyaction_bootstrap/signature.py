"""How many of (event, context) a handler takes.

DigitalOcean documents the parameter lists (), (event), (event, context) and (_, context); its runtime looks at
co_argcount alone, which fails for *args, decorators, callables, partials and bound methods. Here the signature
decides.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Optional, Tuple

_VARARGS = 0x04
_VARKEYWORDS = 0x08


def make_call(handler: Callable[..., Any]) -> Callable[[Any, Any], Any]:
    """A function of (event, context) that calls handler with as many of them as it takes.

    A handler that takes keyword arguments only, main(**event), gets the members of the event. Nothing is
    called here; a signature that nothing fits fails in the call, with Python's own TypeError.
    """
    count, keywords = _count_positional(handler)
    if count >= 2:
        return handler
    if count == 1:
        return lambda event, context: handler(event)
    if keywords:
        return lambda event, context: handler(**event) if isinstance(event, dict) else handler()
    return lambda event, context: handler()


def _count_positional(handler: Callable[..., Any]) -> Tuple[int, bool]:
    """The number of positional parameters, 2 for any number, and whether ** is all that it takes."""
    code = getattr(handler, "__code__", None)
    if type(handler) is type(make_call) and not hasattr(handler, "__wrapped__"):
        return _count_of_function(handler, code)
    return _count_of_signature(handler)


def _count_of_function(function: Any, code: Any) -> Tuple[int, bool]:
    if code.co_flags & _VARARGS:
        inner = _decorated(function, code)
        return _count_positional(inner) if inner is not None else (2, False)
    return code.co_argcount, code.co_argcount == 0 and bool(code.co_flags & _VARKEYWORDS)


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
    import inspect

    try:
        parameters: Dict[str, inspect.Parameter] = dict(inspect.signature(handler).parameters)
    except (ValueError, TypeError):  # a built-in that does not tell
        return 1, False
    kinds = [parameter.kind for parameter in parameters.values()]
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        return 2, False
    count = kinds.count(inspect.Parameter.POSITIONAL_ONLY) + kinds.count(inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return count, count == 0 and inspect.Parameter.VAR_KEYWORD in kinds
