"""Starts pip from the wheel that Debian ships for virtual environments: the package python3-pip, with its dependencies
and their bytecode, would be a third of the image. The module of the wheel takes the place of this one."""

import glob
import importlib
import sys

sys.path.insert(0, max(glob.glob("/usr/share/python-wheels/pip-*.whl")))
del sys.modules["pip"]
importlib.import_module("pip")
