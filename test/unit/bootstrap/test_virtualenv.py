"""virtualenv.py: a function's own packages."""

from __future__ import annotations

import importlib
import os
import stat
import sys
from pathlib import Path
from typing import Any

import pytest
from pyaction_bootstrap import virtualenv

VERSION = f"python{sys.version_info[0]}.{sys.version_info[1]}"
SITE = f"virtualenv/lib/{VERSION}/site-packages"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of the code, where handle.py has put it: working directory and sys.path[0]."""
    monkeypatch.chdir(tmp_path)
    sys.path.insert(0, str(tmp_path))
    os.environ["PATH"] = "/usr/bin:/bin"
    os.environ.pop("VIRTUAL_ENV", None)
    return tmp_path


def write(root: Path, **files: str) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def module(name: str) -> Any:
    importlib.invalidate_caches()
    sys.modules.pop(name, None)
    return importlib.import_module(name)


def test_none(root: Path) -> None:
    before = list(sys.path)
    virtualenv.use(str(root), str(root))
    assert sys.path == before and "VIRTUAL_ENV" not in os.environ


@pytest.mark.parametrize("library", ["lib", "lib64"])
def test_packages(root: Path, library: str, capsys: pytest.CaptureFixture[str]) -> None:
    site = f"virtualenv/{library}/{VERSION}/site-packages"
    write(root, **{f"{site}/unit_packaged.py": "value = 1", f"{site}/unit_sub/__init__.py": ""})
    before = list(sys.path)
    virtualenv.use(str(root), str(root))
    assert sys.path == [str(root), str(root / site)] + before[1:]
    assert module("unit_packaged").value == 1
    assert os.environ["VIRTUAL_ENV"] == str(root / "virtualenv")
    assert os.environ["PATH"] == f"{root}/virtualenv/bin:/usr/bin:/bin"
    assert capsys.readouterr() == ("", "")


def test_packages_come_before_the_system_s_and_after_the_code(root: Path) -> None:
    write(root, **{f"{SITE}/colorsys.py": "value = 'virtualenv'", f"{SITE}/unit_both.py": "value = 'virtualenv'",
                   "unit_both.py": "value = 'code'"})
    virtualenv.use(str(root), str(root))
    try:
        assert module("colorsys").value == "virtualenv" and module("unit_both").value == "code"
    finally:
        del sys.modules["colorsys"]


def test_pth_files(root: Path) -> None:
    write(root, **{f"{SITE}/more.pth": "../more\nimport sys; sys.unit_pth = 1\n",
                   f"virtualenv/lib/{VERSION}/more/unit_more.py": "value = 2"})
    virtualenv.use(str(root), str(root))
    assert module("unit_more").value == 2 and sys.unit_pth == 1  # type: ignore[attr-defined]
    assert sys.path[0] == str(root)


def test_activate_script(root: Path) -> None:
    write(root, **{
        "virtualenv/bin/activate_this.py": "import os, sys\n"
                                           "folder = os.path.dirname(os.path.dirname(__file__))\n"
                                           "sys.path.insert(0, os.path.join(folder, 'own'))\n"
                                           "os.environ['ACTIVATED'] = __name__\n",
        "virtualenv/own/unit_own.py": "value = 3"})
    virtualenv.use(str(root), str(root))
    assert module("unit_own").value == 3 and os.environ["ACTIVATED"] == "__main__"
    assert sys.path[:2] == [str(root), str(root / "virtualenv/own")]


def test_script_and_packages(root: Path) -> None:
    """As virtualenv makes it: the script adds site-packages itself."""
    write(root, **{f"{SITE}/unit_twice.py": "value = 4",
                   "virtualenv/bin/activate_this.py": f"import sys\nsys.path.insert(0, {str(root / SITE)!r})\n"})
    virtualenv.use(str(root), str(root))
    assert sys.path.count(str(root / SITE)) == 1 and sys.path[:2] == [str(root), str(root / SITE)]
    assert module("unit_twice").value == 4


def test_path_is_not_extended_twice(root: Path) -> None:
    write(root, **{f"{SITE}/x.py": "", "virtualenv/bin/activate_this.py":
                   "import os\nos.environ['PATH'] = os.path.dirname(__file__) + ':' + os.environ['PATH']\n"})
    virtualenv.use(str(root), str(root))
    assert os.environ["PATH"] == f"{root}/virtualenv/bin:/usr/bin:/bin"


def test_no_path(root: Path) -> None:
    write(root, **{f"{SITE}/x.py": ""})
    del os.environ["PATH"]
    virtualenv.use(str(root), str(root))
    assert os.environ["PATH"] == f"{root}/virtualenv/bin:{os.defpath}"


def test_another_version(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(root, **{"virtualenv/lib/python3.2/site-packages/unit_old.py": "value = 5"})
    virtualenv.use(str(root), str(root))
    assert module("unit_old").value == 5
    assert capsys.readouterr().err == (f"Warning: the virtualenv was made for python3.2, this is {VERSION}: "
                                       "packages with compiled parts will not load.\n")


def test_the_right_version_among_others(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(root, **{f"{SITE}/unit_right.py": "value = 'right'",
                   "virtualenv/lib/python3.2/site-packages/unit_right.py": "value = 'old'",
                   "virtualenv/lib/pythonX/file": ""})
    virtualenv.use(str(root), str(root))
    assert module("unit_right").value == "right" and capsys.readouterr().err == ""


def test_made_on_windows(root: Path) -> None:
    write(root, **{"virtualenv/Lib/site-packages/unit_windows.py": "value = 6"})
    virtualenv.use(str(root), str(root))
    assert module("unit_windows").value == 6


@pytest.mark.parametrize("files", [
    {"virtualenv/README": ""}, {"virtualenv/lib/README": ""}, {f"virtualenv/lib/{VERSION}/README": ""},
    {f"virtualenv/lib/{VERSION}/site-packages": "a file"}, {"virtualenv/bin/activate": "for a shell"},
    {"virtualenv/lib/perl5/site-packages/x.pl": ""}, {"virtualenv/lib": "a file"},
    {"virtualenv/bin/activate_this.py/x": ""},
], ids=lambda files: next(iter(files)))
def test_invalid(root: Path, files: Any) -> None:
    write(root, **files)
    before = list(sys.path)
    with pytest.raises(virtualenv.InvalidVirtualenv) as caught:
        virtualenv.use(str(root), str(root))
    assert "Invalid virtualenv" in str(caught.value) and "action failed" in str(caught.value)
    assert sys.path == before


def test_a_file_of_that_name_is_none(root: Path) -> None:
    write(root, virtualenv="a file")
    virtualenv.use(str(root), str(root))
    assert "VIRTUAL_ENV" not in os.environ


@pytest.mark.parametrize(("script", "said"), [
    ("1 / 0", "division by zero"), ("def", "invalid syntax"), ("raise ValueError('text')", "text"),
    ("import no_such", "no_such"),
    ("x = 1\0", ""),
])
def test_script_that_fails(root: Path, script: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    write(root, **{"virtualenv/bin/activate_this.py": script, f"{SITE}/x.py": ""})
    with pytest.raises(virtualenv.InvalidVirtualenv) as caught:
        virtualenv.use(str(root), str(root))
    assert str(caught.value).startswith(
        "Invalid virtualenv. The action failed to run virtualenv/bin/activate_this.py: ")
    assert said in str(caught.value) and "Traceback" in capsys.readouterr().err


# --- requirements.txt


def fake_python(root: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> Path:
    """Puts a shell script in the place of the interpreter: it logs its arguments, then does what script says."""
    program = root / "fake-python"
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >> {root}/calls\n{script}\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(sys, "executable", str(program))
    return root / "calls"


INSTALLS = f"""\
case "$*" in
*install*) mkdir -p {{root}}/{SITE}; echo 'value = 7' > {{root}}/{SITE}/unit_installed.py; echo noise ;;
esac"""


def test_requirements(root: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    write(root, **{"requirements.txt": "unit_installed\n"})
    calls = fake_python(root, monkeypatch, INSTALLS.format(root=root))
    virtualenv.use(str(root), str(root))
    assert module("unit_installed").value == 7
    install = calls.read_text().splitlines()[-1]
    assert install.startswith("-m pip install ") and install.endswith(f"--requirement {root}/requirements.txt")
    assert f"--target {root}/{SITE}" in install
    assert capfd.readouterr() == ("", "")
    assert sys.path[:2] == [str(root), str(root / SITE)]


def test_requirements_beside_a_virtualenv(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(root, **{"requirements.txt": "x\n", f"{SITE}/x.py": ""})
    calls = fake_python(root, monkeypatch, "")
    virtualenv.use(str(root), str(root))
    assert not calls.exists()


def test_requirements_that_fail(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(root, **{"requirements.txt": "x\n"})
    fake_python(root, monkeypatch, "case \"$*\" in *install*) echo a reason; echo 'ERROR: no x' >&2; exit 1;; esac")
    with pytest.raises(virtualenv.RequirementsFailed) as caught:
        virtualenv.use(str(root), str(root))
    assert str(caught.value) == "Cannot start action. pip could not install requirements.txt: ERROR: no x"
    assert capsys.readouterr().err == "a reason\nERROR: no x\n"


def test_requirements_that_fail_silently(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(root, **{"requirements.txt": "x\n"})
    fake_python(root, monkeypatch, 'case "$*" in *install*) exit 3;; esac')
    with pytest.raises(virtualenv.RequirementsFailed, match="exit status 3"):
        virtualenv.use(str(root), str(root))


@pytest.mark.parametrize("python", ["exit 1", None])
def test_no_pip(root: Path, monkeypatch: pytest.MonkeyPatch, python: Any, capsys: pytest.CaptureFixture[str]) -> None:
    write(root, **{"requirements.txt": "x\n"})
    if python is None:
        monkeypatch.setattr(sys, "executable", "")
    else:
        fake_python(root, monkeypatch, python)
    virtualenv.use(str(root), str(root))
    assert "requirements.txt is not installed" in capsys.readouterr().err


def test_empty_requirements(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(root, **{"requirements.txt": "# nothing\n"})
    fake_python(root, monkeypatch, "")  # installs nothing, makes no folder
    virtualenv.use(str(root), str(root))
    assert "VIRTUAL_ENV" not in os.environ
