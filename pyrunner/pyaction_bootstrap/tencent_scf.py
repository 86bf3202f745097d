"""The Tencent SCF convention: main_handler(event, context), its results and its error documents."""

from __future__ import annotations

import os
import sys
import time

from pyaction_bootstrap import (
    lazy_logging, loader, report, stdlib, tencent_scf_cos, tencent_scf_errors, virtualenv, wire,
)
from pyaction_bootstrap.tencent_scf_context import Contexts, apply_activation, set_variables

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Mapping, Tuple

_LAYERS = "/opt"

# Tencent's documents say -1 for an exception of the function's, nearly all samples since 2021 say 1.
_ERROR_CODE_VARIABLE = "PYACTION_SCF_ERROR_CODE"
_ERROR_CODES = {"1": 1, "-1": -1}
_error_code = 1

_contexts: Contexts


class InvalidSetting(Exception):
    """A variable of ours has a value that it cannot have."""


def prepare(init: Dict[str, Any]) -> None:
    """Sets up what the platform has set up when it loads the function. Raises InvalidSetting."""
    global _contexts, _error_code
    text = os.environ.get(_ERROR_CODE_VARIABLE) or "1"
    if text not in _ERROR_CODES:
        raise InvalidSetting(f"Cannot start the function. {_ERROR_CODE_VARIABLE} must be 1 or -1, it is {text!r}.")
    _error_code = _ERROR_CODES[text]
    set_variables(init["path"], _LAYERS)
    _contexts = Contexts(init)  # now, for the function may change variables when it is imported
    _set_clock()
    _add_layers()
    _set_up_logging()
    tencent_scf_cos.install()


def _set_clock() -> None:
    """The platform's clock is UTC unless TZ is set; a laptop's mostly is not."""
    if "TZ" not in os.environ and (time.timezone or time.daylight):
        os.environ["TZ"] = "UTC"
        time.tzset()


def _add_layers() -> None:
    """Puts their folder behind those of the code, before the standard library's."""
    if not os.path.isdir(_LAYERS) or _LAYERS in sys.path:
        return
    own = [index for index, folder in enumerate(sys.path) if folder in stdlib.function_folders]
    sys.path.insert(own[-1] + 1 if own else 0, _LAYERS)
    if not os.__file__.startswith(_LAYERS + "/"):  # else the standard library would count as the function's
        stdlib.function_folders.append(_LAYERS)


def _set_up_logging() -> None:
    stdout = sys.stdout

    def set_up(logging: Any) -> None:
        root = logging.getLogger()
        root.setLevel(logging.DEBUG)
        root.addHandler(logging.StreamHandler(stdout))

    lazy_logging.configure(set_up)


def load(init: Dict[str, Any]) -> Function:
    """Imports the function that an init message names: file.function, the file with slashes or dots if it is in
    folders, or the function only if the file is __main__.py. Raises whatever the import raises, AttributeError where
    the module has no such attribute, loader.LoadError where there is no __main__.py."""
    root, handler = init["path"], init["handler"]
    module_name, dot, function = handler.rpartition(".")
    module_name = module_name.replace("/", ".")
    if not dot or module_name == "__main__":
        module = loader.import_main(root)
    else:
        # Gone where the code is loaded once more, after a crash.
        if init["source"] and os.path.exists(os.path.join(root, "__main__.py")):
            loader.rename_source(root, module_name)
        __import__(module_name)
        module = sys.modules[module_name]
    return Function(getattr(module, function), _contexts)


def report_failure(error: BaseException) -> bytes:
    """The document for a function that could not be loaded; on stderr the same text."""
    expected = (InvalidSetting, loader.LoadError, virtualenv.InvalidVirtualenv, virtualenv.RequirementsFailed)
    if isinstance(error, expected):
        report.print_line(str(error))
        return tencent_scf_errors.load_failure(str(error), _error_code)
    text = tencent_scf_errors.format_exception(error)
    _log_exception(error)
    return tencent_scf_errors.load_failure(text, _error_code)


class Function:
    """A loaded function."""

    def __init__(self, handler: Callable[..., Any], contexts: Contexts) -> None:
        self._handler = handler
        self._contexts = contexts

    def run(self, message: Dict[str, Any], variables: Mapping[str, str]) -> Tuple[str, bytes]:
        """Calls the handler with the event of an activation message. variables: those of the activation. Returns the
        status of the reply ("success", "function_error", or "bad_request" when the event is not JSON) and its payload.

        Raises SystemExit where the process must end: for what the function raises that is no Exception, too.
        """
        request_id = variables.get("__OW_ACTIVATION_ID") or _make_uuid()
        event = message.get("value")
        details = _dict_of(message.get("pyaction"))
        if event is None and "value" not in message:
            try:
                event = wire.event_of(message)
            except ValueError as error:
                return "bad_request", tencent_scf_errors.invalid_event(str(error), request_id)
        scf = _dict_of(details.get("scf"))
        apply_activation(scf)
        context = self._contexts.make(request_id, scf)
        try:
            return "success", _encode(self._handler(event, context))
        except SystemExit:
            raise
        except Exception as error:
            document = tencent_scf_errors.user_exception(error, request_id, _error_code)
            _log_exception(error)
            return "function_error", document
        except BaseException as error:  # such as KeyboardInterrupt, which the platform does not catch
            _log_exception(error)
            raise SystemExit(1) from None


def _dict_of(value: Any) -> Dict[str, Any]:
    """The value; or an empty dict for any other value: a client of /run may send what it likes."""
    return value if isinstance(value, dict) else {}


def _encode(result: Any) -> bytes:
    """JSON by the rules of the platform: the standard library's, with non-ASCII characters as they are, and a Decimal
    that is the whole result as a string. Raises what json.dumps raises."""
    try:
        return wire.encode(result)
    except wire.NotSerializable:  # or JSON only to the standard library: NaN
        pass
    if type(result).__name__ == "Decimal" and type(result).__module__ == "decimal":
        return wire.encode(str(result))
    text: str = stdlib.load("json").dumps(result, ensure_ascii=False)
    return text.encode("utf-8")


def _make_uuid() -> str:
    """A random UUID as text (RFC 4122, 4.4); importing uuid takes 7 ms."""
    data = bytearray(os.urandom(16))
    data[6] = data[6] & 0x0F | 0x40
    data[8] = data[8] & 0x3F | 0x80
    digits = data.hex()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _log_exception(error: BaseException) -> None:
    report.print_exception(error)
    if isinstance(error, ModuleNotFoundError) and error.name == tencent_scf_cos.NAME:
        report.print_line(tencent_scf_cos.HINT)
