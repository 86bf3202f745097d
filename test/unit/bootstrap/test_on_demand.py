"""on_demand.py: modules that are compiled in and imported when a function needs them."""

from __future__ import annotations

from typing import Any, Callable

from conftest import BOOT


def test_a_module_and_what_it_imports(python: Callable[..., Any]) -> None:
    done = python(BOOT + """
from pyaction_bootstrap import on_demand
before = {name for name in sys.modules if name.startswith("pyaction_bootstrap.")}
finders = len(sys.meta_path)
module = on_demand.load("aws_lambda")
print(module.__name__, on_demand.load("aws_lambda") is module, module.Function.__module__)
print("pyaction_bootstrap.aws_lambda_context" in before, "pyaction_bootstrap.aws_lambda_context" in sys.modules)
on_demand.load("tencent_scf")
print(len(sys.meta_path) - finders, module.load.__code__.co_filename)
""")
    assert done.stdout.splitlines() == [
        "pyaction_bootstrap.aws_lambda True pyaction_bootstrap.aws_lambda", "False True",
        "1 <pyaction>/aws_lambda.py"], done.stderr


def test_a_module_that_is_not_there(python: Callable[..., Any]) -> None:
    done = python(BOOT + """
from pyaction_bootstrap import on_demand
try:
    on_demand.load("nothing")
except ModuleNotFoundError as error:
    print(error)
""")
    assert done.stdout == "No module named 'pyaction_bootstrap.nothing'\n", done.stderr


def test_modules_of_the_function_are_found_as_ever(python: Callable[..., Any]) -> None:
    done = python(BOOT + """
from pyaction_bootstrap import on_demand
on_demand.load("aws_lambda")
import colorsys
try:
    import nowhere_to_be_found
except ModuleNotFoundError as error:
    print(colorsys.__name__, error)
""")
    assert done.stdout == "colorsys No module named 'nowhere_to_be_found'\n", done.stderr
