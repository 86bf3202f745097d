"""environment.py: variables of /init for good, those of an activation for as long as it lasts."""

from __future__ import annotations

import math
import os
import subprocess
import time
from typing import Any, Callable, Dict, Iterator

import pytest
from conftest import BOOT
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


@pytest.mark.parametrize("folder", ["/", "HERE"], ids=["root", "elsewhere"])
def test_relative_python_path(python: Callable[..., Any], tmp_path: Any, folder: str) -> None:
    """Whatever Python has made of it at its start; what is absolute stays."""
    started_in = str(tmp_path) if folder == "HERE" else folder
    done = python(BOOT + f"import os, sys\nos.chdir({started_in!r})\nfrom pyaction_bootstrap import environment\n"
                  "before = len(sys.path)\n"
                  # As CPython 3.11 does, by hand: the one that runs this was started in another folder.
                  "sys.path[:0] = [os.getcwd() + '/lib', os.getcwd() + '/a/../b', 'c/d', os.getcwd(), '/opt']\n"
                  "os.environ['PYTHONPATH'] = './lib:a/../b:c/d::/opt'\n"
                  "environment.resolve_python_path('/code')\nprint(sys.path[:5], len(sys.path) - before)")
    assert (done.stdout, done.stderr) == ("['/code/lib', '/code/b', '/code/c/d', '/code', '/opt'] 5\n", "")


def test_relative_python_path_where_the_folder_is_gone(python: Callable[..., Any], tmp_path: Any) -> None:
    (tmp_path / "gone").mkdir()
    done = python(BOOT + f"import os\nos.chdir({str(tmp_path / 'gone')!r})\nos.rmdir({str(tmp_path / 'gone')!r})\n"
                  "from pyaction_bootstrap import environment\nos.environ['PYTHONPATH'] = 'lib'\n"
                  "environment.resolve_python_path('/code')\nprint('done')")
    assert (done.stdout, done.stderr) == ("done\n", "")


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


# --- variables that change with each activation


def in_environ(name: str) -> Any:
    """What C code sees, and a child process."""
    child = subprocess.run(["printenv", name], stdout=subprocess.PIPE, check=False)
    return child.stdout if child.returncode == 0 else None


def test_set_variable() -> None:
    for value in (b"", b"a", b"x" * 5000, b"short", "é中".encode(), b"a=b"):
        environment.set_variable(b"UNIT_SET", value)
        assert os.environ["UNIT_SET"] == value.decode() and os.environb[b"UNIT_SET"] == value
        assert in_environ("UNIT_SET") == value + b"\n" and environment.is_set(b"UNIT_SET")
    del os.environ["UNIT_SET"]
    assert in_environ("UNIT_SET") is None and not environment.is_set(b"UNIT_SET")


def test_set_variable_after_others_have_set_it() -> None:
    """os.environ, its removal, and the variable of the same name that was there before."""
    os.environ["UNIT_SET"] = "before"
    for change in (lambda: None, lambda: os.environ.update(UNIT_SET="theirs"), lambda: os.environ.pop("UNIT_SET")):
        change()
        for value in (b"ours", b"longer than before" * 9):
            environment.set_variable(b"UNIT_SET", value)
            assert in_environ("UNIT_SET") == value + b"\n"
    os.environ["UNIT_SET"] = "theirs at last"
    assert in_environ("UNIT_SET") == b"theirs at last\n"


@pytest.mark.parametrize(("name", "value"), [(b"A\0B", b"x"), (b"A", b"x\0y"), (b"", b"x"), (b"A=B", b"x")])
def test_what_no_variable_can_be(name: bytes, value: bytes) -> None:
    with pytest.raises(ValueError):
        environment.set_variable(name, value)
    assert in_environ("A") is None


def test_more_variables_than_have_a_place() -> None:
    names = [f"UNIT_MANY_{number}".encode() for number in range(100)]
    for value in (b"first", b"second"):
        for name in names:
            environment.set_variable(name, value)
    assert {in_environ(name.decode()) for name in names} == {b"second\n"}


def test_activations_leave_nothing(python: Callable[..., Any]) -> None:
    """setenv() would keep every value: 300 bytes each of these."""
    done = python(BOOT + """
from pyaction_bootstrap import environment
def resident_kb():
    return int(open("/proc/self/statm").read().split()[1]) * 4
def run(times):
    for number in range(times):
        environment.apply_activation({"activation_id": f"{number:0256}"})
run(2000)
before = resident_kb()
run(40000)
print(resident_kb() - before)
""")
    assert int(done.stdout) < 2000, done
