"""The function's own packages: a virtualenv folder in its archive, or a requirements.txt."""

from __future__ import annotations

import os
import sys

from pyaction_bootstrap import report, stdlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Optional, Tuple

_FOLDER = "virtualenv"
_VERSION = f"python{sys.version_info[0]}.{sys.version_info[1]}"


class InvalidVirtualenv(Exception):
    """The folder is no usable virtual environment."""


def use(root: str, packages: str) -> None:
    """Makes the packages of root/virtualenv importable, or installs root/requirements.txt where there is no
    such folder. root is the directory of the code, and sys.path[0]. packages: the directory in which a virtualenv
    folder is made for them, root itself unless that is not to be written to.

    Raises InvalidVirtualenv, or RequirementsFailed.
    """
    folder = os.path.join(root, _FOLDER)
    made = os.path.join(packages, _FOLDER)
    if os.path.isdir(folder):
        _activate(root, folder)
    elif os.path.isdir(made):
        _activate(root, made)
    elif os.path.isfile(os.path.join(root, "requirements.txt")):
        _install(root, made)


def _find_packages(folder: str) -> Tuple[Optional[str], Optional[str]]:
    """The site-packages directory of this version of Python, and one of another version."""
    other = None
    for library in ("lib", "lib64", "Lib"):
        base = os.path.join(folder, library)
        try:
            names = sorted(os.listdir(base))
        except OSError:
            continue
        if library == "Lib" and "site-packages" in names:  # made on Windows
            return os.path.join(base, "site-packages"), None
        for name in names:
            packages = os.path.join(base, name, "site-packages")
            if not name.startswith("python") or not os.path.isdir(packages):
                continue
            if name == _VERSION:
                return packages, None
            other = other or packages
    return None, other


def _activate(root: str, folder: str) -> None:
    packages, other = _find_packages(folder)
    script = os.path.join(folder, "bin", "activate_this.py")
    if packages is None and other is not None:
        made_for = os.path.basename(os.path.dirname(other))
        report.print_line(
            f"Warning: the virtualenv was made for {made_for}, this is {_VERSION}: "
            "packages with compiled parts will not load."
        )
        packages = other
    if packages is None and not os.path.isfile(script):
        raise InvalidVirtualenv(
            f"Invalid virtualenv. The action failed to load it. (Zip file does not include "
            f"{_FOLDER}/bin/activate_this.py or {_FOLDER}/lib/{_VERSION}/site-packages.)"
        )
    before = list(sys.path)
    if os.path.isfile(script):
        _run_script(script)
    if packages is not None and packages not in sys.path:
        _add_packages(packages)
    os.environ["VIRTUAL_ENV"] = folder
    binaries = os.path.join(folder, "bin")
    if binaries not in os.environ.get("PATH", "").split(os.pathsep):
        os.environ["PATH"] = os.pathsep.join([binaries, os.environ.get("PATH", os.defpath)])
    _move_new_entries(root, before)


def _run_script(script: str) -> None:
    """What virtualenv (not venv) puts there for use inside of a running interpreter."""
    try:
        with open(script, "rb") as file:
            code = compile(file.read(), script, "exec")
        exec(code, {"__file__": script, "__name__": "__main__"})
    except Exception as error:
        report.print_exception(error)
        raise InvalidVirtualenv(
            f"Invalid virtualenv. The action failed to run {_FOLDER}/bin/activate_this.py: {report.describe(error)}"
        ) from None


def _add_packages(packages: str) -> None:
    stdlib.load("site").addsitedir(packages)  # with the .pth files in it


def _move_new_entries(root: str, before: List[str]) -> None:
    """The environment's directories come right behind the code's own, before the system's."""
    known = set(before)
    added = [entry for entry in sys.path if entry not in known]
    stdlib.function_folders.extend(added)
    sys.path[:] = [root] + added + [entry for entry in before if entry != root]


class RequirementsFailed(Exception):
    """pip could not install what requirements.txt asks for."""


def _install(root: str, folder: str) -> None:
    subprocess = stdlib.load("subprocess")
    python = sys.executable
    if not python or subprocess.run([python, "-m", "pip", "--version"], capture_output=True).returncode != 0:
        report.print_line("Warning: requirements.txt is not installed: there is no pip for this Python.")
        return
    target = os.path.join(folder, "lib", _VERSION, "site-packages")
    command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-warn-script-location",
               "--target", target, "--requirement", os.path.join(root, "requirements.txt")]
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output = result.stdout.decode("utf-8", "replace").strip()
    if result.returncode != 0:
        report.print_line(output)
        last = output.splitlines()[-1] if output else f"exit status {result.returncode}"
        raise RequirementsFailed(f"Cannot start action. pip could not install requirements.txt: {last}")
    if os.path.isdir(target):
        _activate(root, folder)
