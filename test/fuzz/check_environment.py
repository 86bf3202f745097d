"""What fuzz_environment.c checks: variables are those that were sent, and gone when their time is over."""

from __future__ import annotations

import json
import os
import time
from typing import Any, Dict, List

import _pyaction
from pyaction_bootstrap import environment


def text_of(value: Any) -> str:
    """docs/protocol.md: a value that is no string becomes its JSON text."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def documents_of(data: bytes) -> List[Dict[str, Any]]:
    """The lines that are JSON objects."""
    found = []
    for line in data.split(b"\n"):
        try:
            document = _pyaction.decode(line)
        except ValueError:
            continue
        if isinstance(document, dict):
            found.append(document)
    return found


def check_init(variables: Dict[str, Any]) -> None:
    """Sets them all, or says which one it cannot set."""
    try:
        environment.apply_init(variables)
    except ValueError as error:
        assert any(repr(name) in str(error) for name in variables), error
        return
    for name, value in variables.items():
        assert os.environ[name] == text_of(value), name
        assert os.environb[name.encode()] == text_of(value).encode(), name


def check_activation(message: Dict[str, Any]) -> None:
    """Sets what can be set, and nothing that belongs to the activation before is left."""
    variables = environment.apply_activation(message)
    wanted = {"__OW_" + key.upper() for key in message if key not in ("value", "pyaction")}
    assert set(variables) <= wanted, set(variables) - wanted
    for name, text in variables.items():
        assert os.environ[name] == text, name
    for name in wanted - set(variables):  # only what no variable can be
        texts = [name] + [text_of(value) for key, value in message.items() if "__OW_" + key.upper() == name]
        assert "=" in name or any("\0" in text or not is_utf8(text) for text in texts), name


def is_utf8(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def check(data: bytes) -> None:
    """data: the input."""
    documents = documents_of(data)
    before = dict(os.environ)
    if documents:
        check_init(documents[0])
    after_init = dict(os.environ)
    for message in documents[1:]:
        check_activation(message)
        environment.apply_activation({})
        assert dict(os.environ) == after_init, set(os.environ.items()) ^ set(after_init.items())
    for message in documents[1:]:
        check_activation(message)
    environment.apply_activation({})
    assert dict(os.environ) == after_init, set(os.environ.items()) ^ set(after_init.items())

    for name in set(os.environ) - set(before):
        del os.environ[name]
    os.environ.update(before)
    environment._names.clear()
    time.tzset()
