"""Lambda's JSON: results as simplejson encodes them for AWS's runtime, and events as it decodes them.

Nearly everything goes through the runner's own codec. What its encoder refuses is left to simplejson where that is
installed, else to aws_lambda_encode; what its decoder refuses, to aws_lambda_decode.
"""

from __future__ import annotations

import os
import sys

from _pyaction import decode, encode_plain

from pyaction_bootstrap import on_demand

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict

# Of AWS_EXECUTION_ENV, where text is not escaped; the version of Python that runs does not matter.
_RAW_ENVIRONMENTS = frozenset(f"AWS_Lambda_python3.{minor}" for minor in (12, 13, 14, 15))

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

# By ensure_ascii: from a value to JSON text.
_others: Dict[bool, Callable[[Any], str]] = {}


def escapes_by_environment() -> bool:
    """Whether what is not ASCII is to be escaped, by the variables of the process."""
    return os.environ.get("AWS_EXECUTION_ENV") not in _RAW_ENVIRONMENTS


def encode(value: Any, ensure_ascii: bool) -> bytes:
    """The JSON text of a result, one line of UTF-8.

    Raises what simplejson raises for a value that it cannot encode, in its words, what methods of the value's own
    classes raise, and UnicodeEncodeError for a lone surrogate that is not to be escaped.
    """
    try:
        return encode_plain(value, ensure_ascii)  # type: ignore[no-any-return]
    except Exception:
        pass
    other = _others.get(ensure_ascii)
    if other is None:
        other = _others[ensure_ascii] = _find_other(ensure_ascii)
    # A newline is never in a string. It can come from a simplejson.RawJSON, or from a Decimal of a class that has
    # its own text, and would end the reply.
    return other(value).encode().replace(b"\n", b" ")


def _find_other(ensure_ascii: bool) -> Callable[[Any], str]:
    try:
        return _make_simplejson_encoder(ensure_ascii)
    except Exception:  # not installed; or something else of that name
        return on_demand.load("aws_lambda_encode").Encoder(ensure_ascii).encode  # type: ignore[no-any-return]


def _make_simplejson_encoder(ensure_ascii: bool) -> Callable[[Any], str]:
    from simplejson import JSONEncoder
    from simplejson.raw_json import RawJSON

    def replace(value: Any) -> Any:
        if is_decimal(value):
            return float("nan") if value.is_nan() else RawJSON(str(value))
        raise not_serializable(value)

    # use_decimal would write -NaN, which is no JSON by anybody's rules.
    encoder = JSONEncoder(ensure_ascii=ensure_ascii, allow_nan=True, use_decimal=False, default=replace)
    return encoder.encode


def is_decimal(value: Any) -> bool:
    """Whether it is a decimal.Decimal; nobody has one where that module is not loaded."""
    kind = getattr(sys.modules.get("decimal"), "Decimal", None)
    return isinstance(kind, type) and isinstance(value, kind)


def not_serializable(value: Any) -> TypeError:
    """simplejson's error for a value of a type that it does not know."""
    return TypeError(f"Object of type {value.__class__.__name__} is not JSON serializable")


def encode_document(document: Dict[str, Any], ensure_ascii: bool) -> bytes:
    """The JSON text of a dict of texts and lists of texts. Lone surrogates are escaped as Python escapes them."""
    try:
        return encode_plain(document, ensure_ascii)  # type: ignore[no-any-return]
    except ValueError:
        return encode_plain(_without_surrogates(document), ensure_ascii)  # type: ignore[no-any-return]


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_surrogates(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_surrogates(item) for item in value]
    return value.encode("utf-8", "backslashreplace").decode()


def decode_event(body: bytes, content_type: str = "application/json") -> Any:
    """The event in a request's body: the body itself if the content type is any but application/json, spelled so.

    Raises ValueError (UnicodeDecodeError among them) in simplejson's words, RecursionError for deep nesting.
    """
    if content_type != "application/json":
        return body
    try:
        return decode(body[3:] if body.startswith(_BYTE_ORDER_MARK) else body)
    except ValueError:
        return on_demand.load("aws_lambda_decode").decode(body.decode("utf-8"))
