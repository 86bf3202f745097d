"""Environment variables, virtual environments and requirements."""

import base64
import hashlib
import io
import json
import os
import pathlib
import shutil
import subprocess
import zipfile

import pytest

from . import archives
from .archives import file_entry, zip_of, zip_of_entries
from .harness import MARKER, PYTHON, sanitizer_options, shared_directory

#: What `os.environ` holds at import, during the run, in a child process, and what C sees.
REPORT = """
import ctypes, os, subprocess, sys
at_import = dict(os.environ)
def in_c(name):
    getenv = ctypes.CDLL(None).getenv
    getenv.restype = ctypes.c_char_p
    value = getenv(os.fsencode(name))
    return None if value is None else os.fsdecode(value)
def main(event):
    name = event['name']
    script = 'import os,sys; sys.stdout.write(repr(os.environ.get(sys.argv[1])))'
    child = subprocess.run(['/usr/bin/python3', '-I', '-c', script, name],
                           capture_output=True, text=True, check=True).stdout
    return {'import': at_import.get(name), 'run': os.environ.get(name),
            'child': eval(child), 'c': in_c(name)}
"""


def everywhere(value):
    """The report of a variable that is seen in every place with the same value."""
    return {"import": value, "run": value, "child": value, "c": value}


def python_tag() -> str:
    """The name of the library directory of the embedded Python, such as python3.11."""
    script = "import sys; print('python%d.%d' % sys.version_info[:2])"
    return subprocess.run(
        [PYTHON, "-c", script], check=True, capture_output=True, text=True
    ).stdout.strip()


# --- variables of /init


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param("plain", "plain", id="string"),
        pytest.param("", "", id="empty"),
        pytest.param("a=b=c", "a=b=c", id="equals-signs"),
        pytest.param("zwei\nZeilen \t'\"$HOME\\", "zwei\nZeilen \t'\"$HOME\\", id="odd-characters"),
        pytest.param("grüße 日本 \U0001f600", "grüße 日本 \U0001f600", id="unicode"),
        pytest.param("x" * 100_000, "x" * 100_000, id="100-kB"),
        pytest.param(5, "5", id="int"),
        pytest.param(2**53 + 1, "9007199254740993", id="big-int"),
        pytest.param(1.5, "1.5", id="float"),
        pytest.param(True, "true", id="true"),
        pytest.param(False, "false", id="false"),
        pytest.param(None, "null", id="null"),
    ],
)
def test_variable_is_seen_everywhere(action, value, text):
    assert action(REPORT, env={"MY_VAR": value}).result({"name": "MY_VAR"}) == everywhere(text)


@pytest.mark.parametrize("value", [{"a": [1, {"b": None}]}, [1, "zwei", False], {}, []], ids=repr)
def test_structured_value_becomes_its_json_text(action, value):
    report = action(REPORT, env={"MY_VAR": value}).result({"name": "MY_VAR"})
    assert json.loads(report["run"]) == value
    assert report == everywhere(report["run"])


def test_time_zone_is_in_effect_before_the_import(action):
    code = "import time\nat_import = time.tzname[0]\ndef main():\n    return {'tz': at_import}\n"
    assert action(code, env={"TZ": "XYZ-3"}).result() == {"tz": "XYZ"}


def test_time_zone_reaches_datetime(action):
    code = (
        "import datetime\ndef main():\n"
        "    return {'s': datetime.datetime.fromtimestamp(0).astimezone().utcoffset().seconds}\n"
    )
    assert action(code, env={"TZ": "XYZ-3"}).result() == {"s": 3 * 3600}


def test_hash_seed_is_in_effect(action):
    script = "print(hash('pyaction'))"
    expected = subprocess.run(
        [PYTHON, "-c", script], env={"PYTHONHASHSEED": "7"}, capture_output=True, check=True
    ).stdout
    one = action("def main():\n    return {'h': hash('pyaction')}\n", env={"PYTHONHASHSEED": "7"})
    assert one.result() == {"h": int(expected)}


def test_pythonpath_is_in_effect(action, tmp_path):
    (tmp_path / "beside.py").write_text("WHERE = 'beside'\n")
    one = action(
        "import beside, sys\ndef main():\n    return {'w': beside.WHERE, 'path': sys.path}\n",
        env={"PYTHONPATH": str(tmp_path)},
    )
    result = one.result()
    assert result["w"] == "beside"
    assert str(tmp_path) in result["path"][1:], "the action's own directory stays first"


ADDED = {"__main__.py": "import added\ndef main():\n    return {'v': added.v}\n", "lib/added.py": "v = 1\n"}


def test_relative_pythonpath_is_below_the_code(action):
    """As for a Python that is started in the folder of the code, which OpenWhisk's is."""
    one = action(zip_of(ADDED), env={"PYTHONPATH": "lib:/nonexistent"})
    assert one.result() == {"v": 1}


def test_relative_pythonpath_of_the_server(function):
    one = function(ADDED, env={"PYTHONPATH": "./lib"})
    assert one.result() == {"v": 1}


@pytest.mark.parametrize(
    ("env", "expression", "expected"),
    [
        pytest.param({"PYTHONOPTIMIZE": "1"}, "__debug__", False, id="PYTHONOPTIMIZE"),
        pytest.param({"PYTHONWARNINGS": "error"}, "sys.warnoptions", ["error"], id="PYTHONWARNINGS"),
        pytest.param({"PYTHONDEVMODE": "1"}, "sys.flags.dev_mode", True, id="PYTHONDEVMODE"),
    ],
)
def test_python_variables_are_in_effect(action, env, expression, expected):
    code = f"import sys\ndef main():\n    return {{'v': {expression}}}\n"
    assert action(code, env=env).result() == {"v": expected}


@pytest.fixture(scope="module")
def preload_library():
    """A shared library with a function that nothing else has."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    with shared_directory() as folder:
        (folder / "probe.c").write_text("int pyaction_probe(void) { return 42; }\n")
        command = [compiler, "-shared", "-fPIC", "-o", "probe.so", "probe.c"]
        subprocess.run(command, cwd=folder, check=True)
        yield str(folder / "probe.so")


def test_ld_preload_is_in_effect(action, preload_library):
    code = "import ctypes\ndef main():\n    return {'v': ctypes.CDLL(None).pyaction_probe()}\n"
    settings = {"env": sanitizer_options("verify_asan_link_order=0")}  # it would be the first library itself
    assert action(code, env={"LD_PRELOAD": preload_library}, settings=settings).result() == {"v": 42}


def test_ld_library_path_is_in_effect(action, preload_library):
    code = "import ctypes\ndef main():\n    return {'v': ctypes.CDLL('probe.so').pyaction_probe()}\n"
    folder = os.path.dirname(preload_library)
    assert action(code, env={"LD_LIBRARY_PATH": folder}).result() == {"v": 42}


def test_variables_for_the_start_survive_a_crash(action):
    """The runner that replaces a crashed one gets the same environment."""
    code = (
        "import os\ndef main(event):\n"
        "    if event.get('die'):\n        os._exit(1)\n"
        "    return {'h': hash('pyaction'), 'v': os.environ['V']}\n"
    )
    one = action(code, env={"PYTHONHASHSEED": "7", "V": "kept"})
    before = one.result({})
    assert one.run({"die": True}).status == 400
    assert one.result({}) == before


@pytest.mark.parametrize(
    "env",
    [
        pytest.param({"PATH": "/nonexistent"}, id="PATH"),
        pytest.param({"HOME": "/nonexistent"}, id="HOME"),
        pytest.param({"PYACTION_PORT": "1"}, id="PYACTION_PORT"),
        pytest.param({"PYACTION_RUNNER": "/nonexistent"}, id="PYACTION_RUNNER"),
        pytest.param({"TMPDIR": "/nonexistent"}, id="TMPDIR"),
        pytest.param({"LANG": "C", "LC_ALL": "POSIX"}, id="LANG"),
        pytest.param({"IFS": "x", "SHELL": "/nonexistent"}, id="shell"),
    ],
)
def test_variable_that_could_hurt_the_server_does_not(action, env):
    code = (
        "import os\ndef main(event):\n"
        "    if event.get('die'):\n        os._exit(1)\n"
        "    return {name: os.environ.get(name) for name in event['names']}\n"
    )
    one = action(code, env=env)
    assert one.result({"names": list(env)}) == env
    assert one.run({"die": True}).status == 400
    assert one.result({"names": list(env)}) == env


@pytest.mark.parametrize("name", ["", "A=B", "A\0B"], ids=["empty", "equals", "null"])
def test_impossible_variable_name(server, name):
    """Refused or left out; either way the server lives and says nothing wrong."""
    one = server()
    answer = one.init(REPORT, env={name: "x", "GOOD": "1"})
    if answer.status == 200:
        assert one.result({"name": "GOOD"}) == everywhere("1")
    else:
        assert answer.status in (400, 502) and answer.error
        assert one.init(REPORT).status == 200


def test_value_with_a_null_character(server):
    one = server()
    answer = one.init(REPORT, env={"BAD": "a\0b", "GOOD": "1"})
    if answer.status == 200:
        assert one.result({"name": "GOOD"}) == everywhere("1")
    else:
        assert answer.status in (400, 502) and answer.error
        assert one.init(REPORT).status == 200


def test_variable_of_five_megabytes(action):
    """Too large for any child process, and no matter of the server's."""
    code = "import os\ndef main():\n    return {'length': len(os.environ['BIG'])}\n"
    assert action(code, env={"BIG": "x" * 5_000_000}).result() == {"length": 5_000_000}


def test_a_thousand_variables(action):
    env = {f"VAR_{n}": str(n) for n in range(1000)}
    assert action(REPORT, env=env).result({"name": "VAR_999"}) == everywhere("999")


def test_failed_init_leaks_no_variable(server):
    one = server()
    assert one.init("1 / 0\n", env={"LEAK": "1", "PYTHONHASHSEED": "7", "TZ": "XYZ-3"}).status == 502
    code = (
        "import os, time\ndef main():\n"
        "    return {'found': sorted(n for n in ('LEAK', 'PYTHONHASHSEED', 'TZ') if n in os.environ),\n"
        "            'tz': time.tzname[0]}\n"
    )
    assert one.init(code).status == 200
    result = one.result()
    assert result["found"] == []
    assert result["tz"] != "XYZ"


# --- variables of the container


def test_container_variables_reach_the_function(action):
    settings = {"env": {"__OW_API_HOST": "https://host.example", "__OW_X": "a=b=c"}}
    one = action(REPORT, settings=settings)
    assert one.result({"name": "__OW_API_HOST"}) == everywhere("https://host.example")
    assert one.result({"name": "__OW_X"}) == everywhere("a=b=c")


def test_init_overrides_the_container(action):
    one = action(REPORT, settings={"env": {"__OW_X": "container"}}, env={"__OW_X": "init"})
    assert one.result({"name": "__OW_X"}) == everywhere("init")


# --- variables of the activation


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", "plain"),
        ("", ""),
        ("a=b\nc", "a=b\nc"),
        ("grüße \U0001f600", "grüße \U0001f600"),
        (5, "5"),
        (-1.5, "-1.5"),
        (True, "true"),
        (False, "false"),
        (None, "null"),
    ],
    ids=repr,
)
def test_metadata_becomes_a_variable(action, value, text):
    report = action(REPORT).run({"name": "__OW_SOME_KEY"}, some_key=value).json
    assert report == {**everywhere(text), "import": None}


def test_structured_metadata_becomes_its_json_text(action):
    value = {"a": [1, None, "ä"]}
    report = action(REPORT).run({"name": "__OW_K"}, k=value).json
    assert json.loads(report["run"]) == value
    assert report["child"] == report["c"] == report["run"]


def test_metadata_changes_with_each_activation(action):
    one = action(REPORT)
    for identifier in ("first", "second"):
        report = one.run({"name": "__OW_ACTIVATION_ID"}, activation_id=identifier).json
        assert report["run"] == report["child"] == identifier


def test_value_is_no_variable(action):
    code = "import os\ndef main():\n    return {'v': [n for n in os.environ if 'VALUE' in n]}\n"
    assert action(code).result({"a": 1}) == {"v": []}


@pytest.mark.parametrize("key", ["", "=", "a=b", "a\0b", "ß", "-", "x" * 10_000], ids=ascii)
def test_odd_metadata_keys_do_no_harm(action, key):
    one = action("def main(event, context):\n    return event\n")
    assert one.post("/run", {"value": {"n": 1}, key: "x"}).json == {"n": 1}
    assert one.post("/run", {"value": {"n": 2}, "ok": "a\0b"}).json == {"n": 2}
    assert one.result({"n": 3}) == {"n": 3}


# --- virtual environments

COW = "def speak():\n    return 'moo'\n"
USE_COW = "import cow\ndef main():\n    return {'says': cow.speak()}\n"

#: The part of virtualenv's activate_this.py that matters: site-packages first in sys.path.
ACTIVATE = """
import os, site, sys
here = os.path.abspath(os.path.dirname(__file__))
base = os.path.dirname(here)
os.environ["VIRTUAL_ENV"] = base
os.environ["PATH"] = os.pathsep.join([here] + os.environ.get("PATH", "").split(os.pathsep))
before = len(sys.path)
site.addsitedir(os.path.join(base, "lib", "{tag}", "site-packages"))
sys.path[:] = sys.path[before:] + sys.path[:before]
sys.real_prefix = sys.prefix
sys.prefix = base
"""


def test_virtualenv_folder(action):
    tag = python_tag()
    files = {
        "__main__.py": USE_COW,
        "virtualenv/bin/activate_this.py": ACTIVATE.replace("{tag}", tag),
        f"virtualenv/lib/{tag}/site-packages/cow.py": COW,
    }
    one = action(zip_of(files))
    assert one.result() == {"says": "moo"}
    assert one.err.content() == MARKER


def test_site_packages_come_before_installed_modules(action):
    tag = python_tag()
    files = {
        "__main__.py": "import colorsys\ndef main():\n    return {'w': colorsys.WHO}\n",
        "virtualenv/bin/activate_this.py": ACTIVATE.replace("{tag}", tag),
        f"virtualenv/lib/{tag}/site-packages/colorsys.py": "WHO = 'virtualenv'\n",
    }
    assert action(zip_of(files)).result() == {"w": "virtualenv"}


def test_pth_file_in_site_packages(action):
    """Editable and namespace installs put further directories on the path with .pth files."""
    tag = python_tag()
    site = f"virtualenv/lib/{tag}/site-packages"
    files = {
        "__main__.py": USE_COW,
        "virtualenv/pyvenv.cfg": "home = /usr/bin\n",
        f"{site}/farm.pth": "barn\n",
        f"{site}/barn/cow.py": COW,
    }
    assert action(zip_of(files)).result() == {"says": "moo"}


def _archive_of_folder(folder: pathlib.Path) -> bytes:
    """A zip of a folder with its links kept, as `zip -ry` makes it."""
    entries = []
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            entries.append(archives.link_entry(name, os.readlink(path)))
        elif path.is_file():
            entries.append(file_entry(name, path.read_bytes(), path.stat().st_mode & 0o777))
    return zip_of_entries(entries)


@pytest.mark.parametrize("tool", ["venv", "virtualenv"])
def test_virtual_environment_made_by_the_tool(action, tmp_path, tool):
    """The documented recipe: `virtualenv --without-pip virtualenv`, then packages put into it."""
    folder = tmp_path / "function"
    folder.mkdir()
    if tool == "virtualenv" and not os.path.exists("/usr/bin/virtualenv"):
        pytest.skip("virtualenv is not installed")
    maker = [PYTHON, "-m", tool, "--without-pip", "virtualenv"]
    subprocess.run(maker, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    (folder / "virtualenv" / "lib" / python_tag() / "site-packages" / "cow.py").write_text(COW)
    (folder / "__main__.py").write_text(USE_COW)
    one = action(_archive_of_folder(folder))
    assert one.result() == {"says": "moo"}
    assert one.err.content() == MARKER


def test_children_see_the_virtual_environment(action, tmp_path):
    """`python3` started by the function is the environment's, which finds its packages."""
    folder = tmp_path / "function"
    folder.mkdir()
    subprocess.run([PYTHON, "-m", "venv", "--without-pip", "virtualenv"], cwd=folder, check=True)
    (folder / "virtualenv" / "lib" / python_tag() / "site-packages" / "cow.py").write_text(COW)
    (folder / "__main__.py").write_text(
        "import subprocess\n"
        "def main():\n"
        "    python = 'virtualenv/bin/python3'\n"
        "    script = 'import cow; print(cow.speak())'\n"
        "    return {'out': subprocess.check_output([python, '-c', script], text=True)}\n"
    )
    assert action(_archive_of_folder(folder)).result() == {"out": "moo\n"}


OTHER_VERSION = "python3.7"


def _other_version(main: str) -> bytes:
    site = f"virtualenv/lib/{OTHER_VERSION}/site-packages"
    activate = ACTIVATE.replace("{tag}", OTHER_VERSION)
    return zip_of(
        {
            "__main__.py": main,
            "virtualenv/bin/activate_this.py": activate,
            f"{site}/cow.py": COW,
        }
    )


def test_virtualenv_of_another_python_version_gets_a_warning(action):
    one = action(_other_version("def main():\n    return {'ok': 1}\n"))
    warning = one.err.text()
    assert "3.7" in warning
    assert python_tag().replace("python", "") in warning
    assert one.out.content() == b""
    assert one.result() == {"ok": 1}


def test_warning_stands_before_the_failure_it_explains(server):
    one = server()
    main = USE_COW.replace("cow", "extinct_cow")
    assert one.init(_other_version(main)).status == 502
    text = one.err.text()
    assert text.index("3.7") < text.index("extinct_cow")
    assert one.err.markers() == 1


@pytest.mark.parametrize(
    "files",
    [
        pytest.param({"virtualenv/readme": ""}, id="unrelated-file"),
        pytest.param({"virtualenv/bin/": ""}, id="empty-bin"),
        pytest.param({"virtualenv/lib/": "", "virtualenv/bin/python": ""}, id="no-site-packages"),
    ],
)
def test_invalid_virtualenv(server, files):
    one = server()
    answer = one.init(zip_of({"__main__.py": "def main():\n    return {}\n", **files}))
    assert answer.status == 502
    assert "Invalid virtualenv" in answer.error or "action failed" in answer.error
    assert "Zip file does not include" in one.err.text()
    assert "virtualenv/bin/" in one.err.text()
    assert one.out.content() == MARKER
    assert one.err.markers() == 1
    assert one.init("def main():\n    return {'ok': 1}\n").status == 200


def test_activate_script_that_fails(server):
    one = server()
    files = {
        "__main__.py": "def main():\n    return {}\n",
        "virtualenv/bin/activate_this.py": "raise OSError('cannot activate')\n",
    }
    answer = one.init(zip_of(files))
    assert answer.status == 502
    assert "cannot activate" in one.err.text()
    assert one.out.content() == MARKER and one.err.markers() == 1


# --- requirements.txt


def _wheel(name: str, source: str) -> bytes:
    """A wheel of one module, made by hand."""
    info = f"{name}-1.0.dist-info"
    files = {
        f"{name}.py": source,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(_record_line(path, text) for path, text in files.items())
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
        archive.writestr(f"{info}/RECORD", record + f"{info}/RECORD,,\n")
    return buffer.getvalue()


def _record_line(path: str, text: str) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
    return f"{path},sha256={digest},{len(text)}\n"


needs_pip = pytest.mark.skipif(
    subprocess.run([PYTHON, "-m", "pip", "--version"], capture_output=True).returncode != 0,
    reason="pip is not installed",
)


@needs_pip
def test_requirements_are_installed(action):
    """A wheel inside the archive stands for the package index."""
    files = {
        "__main__.py": USE_COW,
        "requirements.txt": "--no-index\n./cow-1.0-py3-none-any.whl\n",
        "cow-1.0-py3-none-any.whl": _wheel("cow", COW),
    }
    one = action(zip_of(files))
    assert one.result() == {"says": "moo"}


@needs_pip
def test_requirements_that_cannot_be_installed(server):
    one = server()
    files = {"__main__.py": USE_COW, "requirements.txt": "--no-index\n./missing-1.0-py3-none-any.whl\n"}
    answer = one.init(zip_of(files))
    assert answer.status == 502
    assert "missing-1.0" in one.err.text()
    assert one.out.markers() == one.err.markers() == 1
    assert one.init("def main():\n    return {'ok': 1}\n").status == 200


@needs_pip
def test_requirements_beside_a_virtualenv_are_ignored(action):
    tag = python_tag()
    files = {
        "__main__.py": USE_COW,
        "requirements.txt": "--no-index\n./missing-1.0-py3-none-any.whl\n",
        "virtualenv/bin/activate_this.py": ACTIVATE.replace("{tag}", tag),
        f"virtualenv/lib/{tag}/site-packages/cow.py": COW,
    }
    assert action(zip_of(files)).result() == {"says": "moo"}


def test_embedded_python_is_the_systems(action):
    """The version that `make` embeds is the one whose packages and tools stand beside it."""
    code = "import sys\ndef main():\n    return {'v': 'python%d.%d' % sys.version_info[:2]}\n"
    assert action(code).result() == {"v": python_tag()}
