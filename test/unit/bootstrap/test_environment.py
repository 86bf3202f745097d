"""environment.py: variables of /init for good, those of an activation for as long as it lasts."""

from __future__ import annotations

import math
import os
import subprocess
import time
from typing import Any, Dict, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyaction_bootstrap import environment


@pytest.fixture(autouse=True)
def no_activation() -> Iterator[None]:
    environment._hidden.clear()
    for name in [name for name in os.environ if name.startswith("__OW_")]:
        del os.environ[name]
    yield
    environment._hidden.clear()


def of_activations() -> Dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("__OW_")}


# --- init


def test_init() -> None:
    environment.apply_init({"A": "text", "B": "", "C": "é\n=", "N": 12, "F": 1.5, "T": True, "Z": None,
                            "L": [1, "x"], "D": {"k": "é"}})
    got = {name: os.environ[name] for name in "ABCNFTZLD"}
    assert got == {"A": "text", "B": "", "C": "é\n=", "N": "12", "F": "1.5", "T": "true", "Z": "null", "L": '[1, "x"]',
                   "D": '{"k": "é"}'}
    assert subprocess.run(["printenv", "C"], stdout=subprocess.PIPE, check=True).stdout == "é\n=\n".encode()


def test_init_overrides_and_keeps() -> None:
    os.environ["UNIT_A"] = "before"
    os.environ["UNIT_B"] = "stays"
    environment.apply_init({"UNIT_A": "after"})
    assert (os.environ["UNIT_A"], os.environ["UNIT_B"]) == ("after", "stays")
    environment.apply_init({})


@pytest.mark.parametrize(("name", "value"), [
    ("A=B", "x"), ("", "x"), ("A", "nul\0"), ("A\0", "x"), ("A\ud800", "x"), ("A", "\ud800"), ("A", ["\ud800"]),
    ("A", math.inf), ("A", [math.nan]),
])
def test_init_with_what_cannot_be_set(name: str, value: Any) -> None:
    with pytest.raises(ValueError) as caught:
        environment.apply_init({name: value})
    assert str(caught.value).startswith(f"the environment variable {name!r} cannot be set: ")
    assert caught.value.__suppress_context__


def test_time_zone_takes_effect() -> None:
    environment.apply_init({"TZ": "XYZ-3"})
    assert time.tzname[0] == "XYZ" and time.timezone == -3 * 3600
    environment.apply_init({"TZ": "UTC"})
    assert time.timezone == 0


# --- activations


def test_activation() -> None:
    got = environment.apply_activation({"value": {"not": "this"}, "activation_id": "abc", "deadline": 1675959023728,
                                        "Mixed_Case": None, "list": [1, "é"]})
    wanted = {"__OW_ACTIVATION_ID": "abc", "__OW_DEADLINE": "1675959023728", "__OW_MIXED_CASE": "null",
              "__OW_LIST": '[1, "é"]'}
    assert got == wanted and of_activations() == wanted


def test_value_alone_and_nothing() -> None:
    assert environment.apply_activation({"value": 1}) == {} and environment.apply_activation({}) == {}
    assert of_activations() == {}


def test_an_activation_s_variables_end_with_it() -> None:
    environment.apply_activation({"a": "1", "b": "2"})
    environment.apply_activation({"b": "3", "c": "4"})
    assert of_activations() == {"__OW_B": "3", "__OW_C": "4"}
    environment.apply_activation({})
    assert of_activations() == {}


def test_what_they_have_hidden_comes_back() -> None:
    os.environ["__OW_API_HOST"] = "of the container"
    environment.apply_activation({"api_host": "of the first"})
    environment.apply_activation({"api_host": "of the second"})
    assert of_activations() == {"__OW_API_HOST": "of the second"}
    environment.apply_activation({})
    assert of_activations() == {"__OW_API_HOST": "of the container"}


def test_same_value_is_not_forgotten() -> None:
    os.environ["__OW_A"] = "same"
    environment.apply_activation({"a": "same"})
    environment.apply_activation({"a": "other"})
    environment.apply_activation({})
    assert of_activations() == {"__OW_A": "same"}


def test_the_function_changes_them() -> None:
    environment.apply_activation({"a": "1", "b": "2"})
    os.environ["__OW_A"] = "changed"
    del os.environ["__OW_B"]
    environment.apply_activation({"a": "1", "b": "2"})
    assert of_activations() == {"__OW_A": "1", "__OW_B": "2"}
    del os.environ["__OW_A"]
    environment.apply_activation({})
    assert of_activations() == {}


@pytest.mark.parametrize(("key", "value"), [
    ("a=b", "x"), ("a\0", "x"), ("a", "x\0y"), ("\ud800", "x"), ("a", "\ud800"), ("a", ["\ud800"]), ("a", math.inf),
    ("a", {"\ud800": 1}),
])
def test_what_cannot_be_set_is_left_out(key: str, value: Any) -> None:
    os.environ["__OW_OLD"] = "container"
    environment.apply_activation({"old": "activation"})
    environment.apply_activation({key: value, "good": "1"})
    assert of_activations() == {"__OW_OLD": "container", "__OW_GOOD": "1"}
    environment.apply_activation({key: value})
    assert of_activations() == {"__OW_OLD": "container"}


def test_a_value_that_cannot_be_set_does_not_leave_that_of_before() -> None:
    """An activation must not see the variable of another one."""
    environment.apply_activation({"a": "of the first"})
    environment.apply_activation({"a": "nul\0"})
    assert os.environ.get("__OW_A") != "of the first"


def test_odd_names() -> None:
    environment.apply_activation({"": "empty", "with space": "1", "straße": "2", "é": "3", "a.b-c": "4", "VALUE": "5"})
    assert of_activations() == {"__OW_": "empty", "__OW_WITH SPACE": "1", "__OW_STRASSE": "2", "__OW_É": "3",
                                "__OW_A.B-C": "4", "__OW_VALUE": "5"}


def test_two_keys_with_one_name() -> None:
    assert environment.apply_activation({"a": "1", "A": "2"}) == {"__OW_A": "2"}
    assert of_activations() == {"__OW_A": "2"}
    environment.apply_activation({})
    assert of_activations() == {}


def test_children_see_them() -> None:
    environment.apply_activation({"unit": "é"})
    assert subprocess.run(["printenv", "__OW_UNIT"], stdout=subprocess.PIPE, check=True).stdout == "é\n".encode()
    environment.apply_activation({})
    assert subprocess.run(["printenv", "__OW_UNIT"], stdout=subprocess.PIPE, check=False).returncode == 1


@settings(derandomize=True, deadline=None)
@given(st.dictionaries(st.sampled_from("abc"), st.text("xyé", max_size=2)),
       st.lists(st.dictionaries(st.sampled_from("abcd"), st.text("xyé", max_size=2)), max_size=6))
def test_any_sequence(container: Dict[str, str], activations: Any) -> None:
    for name in of_activations():
        del os.environ[name]
    environment._hidden.clear()
    os.environ.update({f"__OW_{key.upper()}": value for key, value in container.items()})
    base = of_activations()
    for activation in activations:
        wanted = {f"__OW_{key.upper()}": value for key, value in activation.items()}
        assert environment.apply_activation(dict(activation, value=1)) == wanted
        assert of_activations() == {**base, **wanted}
    environment.apply_activation({})
    assert of_activations() == base
