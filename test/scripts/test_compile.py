"""pyaction -compile: an archive that starts without installing or compiling anything, and what it makes of bad code."""

from __future__ import annotations

import base64
import contextlib
import importlib.util
import io
import json
import marshal
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tarfile
import time
import urllib.error
import urllib.request
import zipfile
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Tuple, Union

import pytest

from .harness import PATIENCE, ROOT, ActionServer, own_environment

sys.path.insert(0, str(ROOT / "test" / "bench"))
import workload  # noqa: E402

BINARY = Path(os.environ.get("PYACTION_BIN", ROOT / "build" / "pyaction")).resolve()
#: The Python that compiles and runs functions, and what it calls its bytecode.
PYTHON = (BINARY.parent / "pycompile").read_text().split()[0][2:]
TAG, FOLDER = subprocess.run(
    [PYTHON, "-c", "import sys; print(sys.implementation.cache_tag, 'python%d.%d' % sys.version_info[:2])"],
    check=True, stdout=subprocess.PIPE, universal_newlines=True).stdout.split()
BYTECODE = f".pyaction-bytecode.{TAG}"
#: The comment of an archive that is as it was made.
MARK = b"pyaction: compiled"
PACKAGES = f"virtualenv/lib/{FOLDER}/site-packages"

HELLO = "def main(event):\n    return {'hello': event.get('name', 'nobody')}\n"
# Valid in Python 2 only.
OLD = "import os\nprint 'old'\n"


def zip_of(files: Mapping[str, Union[str, bytes]], modes: Optional[Mapping[str, int]] = None) -> bytes:
    """An archive of these files. modes: full st_mode of those that are no ordinary files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.create_system = 3
            info.external_attr = (modes or {}).get(name, stat.S_IFREG | 0o644) << 16
            archive.writestr(info, content)
    return buffer.getvalue()


def content_of(archive: bytes) -> Dict[str, bytes]:
    """The files in a zip by name."""
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def modules_of(archive: bytes) -> Dict[str, bytes]:
    """The sources that have bytecode in a compiled archive, and it."""
    data = content_of(archive)[BYTECODE]
    index = marshal.loads(data[int.from_bytes(data[4:12], "little"):])
    return {name: data[offset:offset + length] for name, (offset, length) in index.items()}


def changed(archive: bytes, files: Mapping[str, Union[str, bytes]], comment: bytes = MARK) -> bytes:
    """A compiled archive with some files added or replaced, and a comment."""
    buffer = io.BytesIO(zip_of({**content_of(archive), **files}))
    with zipfile.ZipFile(buffer, "a") as opened:
        opened.comment = comment
    return buffer.getvalue()


class Compiler:
    """Runs pyaction -compile with a folder for temporary files in which nothing may be left."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "temporary"
        self.folder.mkdir()
        self.folder.chmod(0o1777)  # as /tmp: where the tests are root, the compiler is not
        self.wheels = folder / "wheels"
        self.wheels.mkdir()
        self.env = {
            "PATH": "/usr/local/bin:/usr/bin:/bin", "TMPDIR": str(self.folder), "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.wheels), "PIP_NO_CACHE_DIR": "1", "PIP_CONFIG_FILE": os.devnull,
            **{name: value for name, value in own_environment().items() if name.endswith("SAN_OPTIONS")}}

    def start(self, *words: str, **options: Any) -> "subprocess.Popen[bytes]":
        """Starts it with these words on its command line. options: of Popen; env: further variables."""
        env = {**self.env, **options.pop("env", {})}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        return subprocess.Popen([str(BINARY), *words], env=env, **pipes)

    def run(self, code: bytes, *words: str, **options: Any) -> Tuple[int, bytes, str]:
        """Exit status, archive and messages. words: `-compile main` without any."""
        with self.start(*(words or ("-compile", "main")), **options) as process:
            archive, messages = process.communicate(code, timeout=120)
        assert self.left() == []
        return process.returncode, archive, messages.decode()

    def compile(self, code: Union[bytes, Mapping[str, str]], main: str = "main", **options: Any) -> bytes:
        """The archive of code that must be fine."""
        code = code if isinstance(code, bytes) else zip_of(code)
        status, archive, messages = self.run(code, "-compile", main, **options)
        assert status == 0, messages
        return archive

    def refuse(self, code: bytes, main: str = "main", **options: Any) -> str:
        """The messages about code that must not become an archive."""
        status, archive, messages = self.run(code, "-compile", main, **options)
        assert (status, archive) == (1, b"") and messages and "Traceback" not in messages, messages
        return messages

    def left(self) -> List[str]:
        """What is still in the folder for temporary files."""
        return [str(path.relative_to(self.folder)) for path in self.folder.rglob("*")]

    def add_wheel(self, name: str, files: Mapping[str, str], command: str = "") -> None:
        """Makes a package that requirements.txt may name. command: function of a console script with its name."""
        info = f"{name}-1.0.dist-info"
        content = {
            **files,
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
            f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{info}/entry_points.txt": f"[console_scripts]\n{name} = {command}\n" if command else "",
        }
        content[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*content, f"{info}/RECORD"])
        (self.wheels / f"{name}-1.0-py3-none-any.whl").write_bytes(zip_of(content))


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server writes bytecode, as it does where nobody's shell forbids it."""
    for name in ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def compiler(tmp_path: Path) -> Compiler:
    return Compiler(tmp_path)


def post(server: ActionServer, path: str, document: Any) -> Tuple[int, Any]:
    """Status and JSON of the answer."""
    request = urllib.request.Request(server.url + path, json.dumps(document).encode())
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as answer:
        return answer.code, json.load(answer)


def init(
    server: ActionServer, archive: bytes, main: str = "main", env: Optional[Dict[str, str]] = None
) -> Tuple[int, Any]:
    code = base64.b64encode(archive).decode()
    return post(server, "/init", {"value": {"code": code, "binary": True, "main": main, "env": env or {}}})


def result(server: ActionServer, archive: bytes, value: Any = None, main: str = "main") -> Any:
    """The first result of an archive at a server."""
    assert init(server, archive, main) == (200, {"ok": True}), server.console
    status, answer = post(server, "/run", {"value": value or {}})
    assert status == 200, (answer, server.console)
    return answer


# --- what comes out -----------------------------------------------------------


def test_command_lines(compiler: Compiler) -> None:
    """The one of OpenWhisk's proxy and the one of everybody else; the same archive each time."""
    code = zip_of({"__main__.py": HELLO, "other.py": "x = 1\n"})
    archives = {compiler.run(code, *words)[:2] for words in (
        ("-compile", "main"), ("-compile=main",), ("--compile=main",), ("--compile", "main"))}
    assert len(archives) == 1
    assert archives.pop()[0] == 0


def tar_of(files: Mapping[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content.encode()))
    return buffer.getvalue()


@pytest.mark.parametrize("code", [
    zip_of({"__main__.py": HELLO}), tar_of({"__main__.py": HELLO}), HELLO.encode(), b"\xef\xbb\xbf" + HELLO.encode(),
    zip_of({"exec": HELLO}), zip_of({"exec": "#!/usr/bin/env python3\n" + HELLO}), zip_of({"main__.py": HELLO}),
], ids=["zip", "tar.gz", "source", "source with BOM", "exec", "exec with a first line", "main__"])
def test_forms_of_code(compiler: Compiler, server: ActionServer, code: bytes) -> None:
    archive = compiler.compile(code)
    assert [name for name in modules_of(archive) if name.endswith("main__.py")]
    assert result(server, archive, {"name": "Ada"}) == {"hello": "Ada"}


@pytest.mark.parametrize(("files", "main"), [
    ({"__main__.py": HELLO.replace("main", "entry")}, "entry"),
    ({"pkg/__init__.py": "", "pkg/mod.py": HELLO}, "pkg/mod.main"),
    ({"pkg/__init__.py": HELLO}, "pkg.main"),
])
@pytest.mark.parametrize("named_again", [False, True])
def test_handlers(
    compiler: Compiler, server: ActionServer, files: Mapping[str, str], main: str, named_again: bool
) -> None:
    """The archive knows its handler, whether /init names it or only has the default."""
    archive = compiler.compile(files, main)
    assert result(server, archive, {"name": "x"}, main if named_again else "main") == {"hello": "x"}


def test_source_for_a_module(compiler: Compiler, server: ActionServer) -> None:
    archive = compiler.compile(HELLO.encode(), "pkg/mod.main")
    assert "pkg/mod.py" in content_of(archive)
    assert result(server, archive, {"name": "x"}, "pkg/mod.main") == {"hello": "x"}


FILES = {
    "__main__.py": "import top, pkg.deep\nIS = 'source'\n"
                   "def main(event):\n    return {'is': [__file__[-11:], IS, top.IS, pkg.deep.IS]}\n",
    "top.py": "IS = 'source'\n", "pkg/__init__.py": "", "pkg/deep.py": "IS = 'source'\n", "data.txt": "text",
}


def test_every_module_has_bytecode(compiler: Compiler) -> None:
    """Sources and other files stay as they are."""
    archive = compiler.compile(FILES)
    content = content_of(archive)
    assert {name: content[name].decode() for name in FILES} == FILES
    assert set(modules_of(archive)) == {name for name in FILES if name.endswith(".py")}
    assert content[BYTECODE][:4] == importlib.util.MAGIC_NUMBER or PYTHON != sys.executable


@pytest.fixture
def other_sources(compiler: Compiler) -> bytes:
    """A compiled archive whose sources are not those of its bytecode."""
    files = {name: text.replace("source", "bytecode") for name, text in FILES.items()}
    return changed(compiler.compile(files), FILES)


OF_BYTECODE = {"is": ["__main__.py", "bytecode", "bytecode", "bytecode"]}
OF_SOURCES = {"is": ["__main__.py", "source", "source", "source"]}


def test_bytecode_is_what_runs(other_sources: bytes, server: ActionServer) -> None:
    """With other sources behind the same bytecode the function is the old one: nothing is compiled again."""
    assert result(server, other_sources) == OF_BYTECODE


def test_bytecode_of_an_archive_at_the_start(other_sources: bytes, tmp_path: Path) -> None:
    (tmp_path / "code.zip").write_bytes(other_sources)
    server = ActionServer(tmp_path, arguments=["--code", str(tmp_path / "code.zip"), "main"])
    try:
        assert post(server, "/run", {}) == (200, OF_BYTECODE)
    finally:
        server.stop()


@pytest.mark.parametrize(("main", "convention"), [
    ("lambda_function.lambda_handler", "auto"), ("index.main_handler", "auto"), ("pkg/mod.handler", "lambda"),
    ("pkg/mod.handler", "scf"), ("handler", "lambda"), ("handler", "scf"),
])
def test_bytecode_of_other_conventions(compiler: Compiler, server: ActionServer, main: str, convention: str) -> None:
    module, _, function = main.rpartition(".")
    name = f"{module or '__main__'}.py"
    files = {name: f"import top\nIS = 'bytecode'\ndef {function}(event, context):\n    return [IS, top.IS]\n",
             "top.py": "IS = 'bytecode'\n"}
    archive = changed(compiler.compile(files, main), {path: text.replace("bytecode", "source")
                                                      for path, text in files.items()})
    assert init(server, archive, main, {"PYACTION_CONVENTION": convention})[0] == 200, server.console
    assert post(server, "/run", {}) == (200, {"body": ["bytecode", "bytecode"]})


def test_packed_again(other_sources: bytes, server: ActionServer) -> None:
    """Without the comment that says that it is as it was made, the sources count."""
    assert result(server, changed(other_sources, {}, b"")) == OF_SOURCES


def test_unpacked(other_sources: bytes, tmp_path: Path) -> None:
    """The sources of a folder count."""
    folder = unpack(other_sources, tmp_path / "function")
    server = ActionServer(tmp_path, arguments=["--code", str(folder), "main"])
    try:
        assert post(server, "/run", {}) == (200, OF_SOURCES)
    finally:
        server.stop()


@pytest.mark.parametrize("damage", [
    lambda data: b"", lambda data: data[:11], lambda data: b"????" + data[4:], lambda data: data[:-1],
    lambda data: data[:4] + b"\xff" * 8 + data[12:], lambda data: data[:4] + bytes(8) + data[12:],
], ids=["empty", "cut in the header", "of another Python", "cut at the end", "no index", "no index there"])
def test_damaged_bytecode(
    other_sources: bytes, server: ActionServer, damage: Callable[[bytes], bytes]
) -> None:
    """Bytecode that is not this Python's, or none at all, is no reason to fail: there are the sources."""
    archive = changed(other_sources, {BYTECODE: damage(content_of(other_sources)[BYTECODE])})
    assert result(server, archive) == OF_SOURCES


def test_damaged_bytecode_of_a_module(other_sources: bytes, server: ActionServer) -> None:
    """Only that module is made of its source."""
    data = content_of(other_sources)[BYTECODE]
    module = modules_of(other_sources)["top.py"]
    archive = changed(other_sources, {BYTECODE: data.replace(module, b"?" * len(module))})
    assert result(server, archive) == {"is": ["__main__.py", "bytecode", "source", "bytecode"]}


def test_another_python(other_sources: bytes, server: ActionServer) -> None:
    """It would look for a file with its own tag in the name."""
    content: Dict[str, Union[str, bytes]] = dict(content_of(other_sources))
    content[".pyaction-bytecode.cpython-30"] = content.pop(BYTECODE)
    assert result(server, changed(zip_of(content), {})) == OF_SOURCES


def test_optimized_python(other_sources: bytes, server: ActionServer) -> None:
    """PYTHONOPTIMIZE wants bytecode without assertions."""
    assert init(server, other_sources, env={"PYTHONOPTIMIZE": "1"})[0] == 200
    assert post(server, "/run", {}) == (200, OF_SOURCES)


def test_the_runner_after_a_crash_has_it(compiler: Compiler, server: ActionServer) -> None:
    main = ("import os, top\ndef main(event):\n    os._exit(3) if event.get('crash') else None\n"
            "    return {'is': top.IS}\n")
    archive = compiler.compile({"__main__.py": main, "top.py": "IS = 'bytecode'\n"})
    assert init(server, changed(archive, {"top.py": "IS = 'source'\n"}))[0] == 200
    assert post(server, "/run", {"value": {"crash": True}})[0] == 400
    assert post(server, "/run", {}) == (200, {"is": "bytecode"})


MODULES = {
    "__main__.py": "import importlib, importlib.util, inspect, os, sys\n"
                   "import pkg.mod, space.mod\n"
                   "def main(event):\n"
                   "    modules = [sys.modules[__name__], pkg, pkg.mod, space.mod]\n"
                   "    root = os.path.dirname(__file__)\n"
                   "    return {\n"
                   "        'files': [os.path.relpath(module.__file__, root) for module in modules],\n"
                   "        'names': [module.__spec__.name for module in modules],\n"
                   "        'code': [os.path.relpath(pkg.mod.fn.__code__.co_filename, root),\n"
                   "                 os.path.relpath(main.__code__.co_filename, root)],\n"
                   "        'source': inspect.getsource(pkg.mod.fn),\n"
                   "        'data': open(os.path.join(os.path.dirname(pkg.__file__), 'data.txt')).read(),\n"
                   "        'resource': importlib.import_module('pkgutil').get_data('pkg', 'data.txt').decode(),\n"
                   "        'listed': [m.name for m in sys.modules['pkgutil'].iter_modules(pkg.__path__)],\n"
                   "        'found': importlib.util.find_spec('pkg.other') is not None,\n"
                   "        'reloaded': importlib.reload(pkg.mod).VALUE,\n"
                   "        'loader': isinstance(pkg.__loader__, importlib.machinery.SourceFileLoader),\n"
                   "    }\n",
    "pkg/__init__.py": "from . import mod\n", "pkg/data.txt": "text", "pkg/other.py": "",
    "pkg/mod.py": "from .other import __name__ as OTHER\nVALUE = 1\ndef fn():\n    return VALUE  # here\n",
    "space/mod.py": "",
}


@pytest.mark.parametrize("is_compiled", [False, True])
def test_modules_are_as_without(compiler: Compiler, server: ActionServer, is_compiled: bool) -> None:
    """What a function can learn of its modules."""
    archive = zip_of(MODULES)
    assert result(server, compiler.compile(archive) if is_compiled else archive) == {
        "files": ["__main__.py", "pkg/__init__.py", "pkg/mod.py", "space/mod.py"],
        "names": ["main__", "pkg", "pkg.mod", "space.mod"],
        "code": ["pkg/mod.py", "__main__.py"], "source": "def fn():\n    return VALUE  # here\n",
        "data": "text", "resource": "text", "listed": ["mod", "other"], "found": True, "reloaded": 1, "loader": True,
    }


@pytest.mark.parametrize("is_compiled", [False, True])
def test_no_process_compiles_what_is_compiled(compiler: Compiler, tmp_path: Path, is_compiled: bool) -> None:
    """Beside the import of an ordinary archive of this size there is one, where there are two processors."""
    plain = base64.b64decode(json.loads(workload.zip_init_body(1))["value"]["code"])
    archive = compiler.compile(plain) if is_compiled else plain
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("pyrunner", "pyunpack"):
        (programs / name).symlink_to(BINARY.parent / name)
    (programs / "pyprecompile").write_text(f"#!/bin/sh\ntouch {tmp_path / 'started'}\n")
    (programs / "pyprecompile").chmod(0o755)
    shutil.copy(BINARY, programs)  # which looks for the others beside itself

    server = ActionServer(tmp_path, binary=programs / BINARY.name)
    try:
        assert result(server, archive, workload.ZIP_VALUE) == workload.zip_sources(1)[1]
    finally:
        server.stop()
    assert (tmp_path / "started").exists() is (not is_compiled and len(os.sched_getaffinity(0)) > 1)


def test_traceback_shows_the_source(compiler: Compiler, server: ActionServer) -> None:
    files = {"__main__.py": "import other\ndef main(event):\n    return other.fail()\n",
             "other.py": "def fail():\n    raise KeyError('this one')  # a comment\n"}
    assert init(server, compiler.compile(files))[0] == 200
    assert post(server, "/run", {})[0] == 502
    assert "/other.py\", line 2, in fail" in server.console and "# a comment" in server.console


def test_modes_and_links_survive(compiler: Compiler) -> None:
    modes = {"run.sh": stat.S_IFREG | 0o755, "link": stat.S_IFLNK | 0o777, "dangling": stat.S_IFLNK | 0o777,
             "empty/": stat.S_IFDIR | 0o755}
    files = {"__main__.py": HELLO, "run.sh": "#!/bin/sh\n", "link": "run.sh", "dangling": "/no/where", "empty/": "",
             "é中.txt": "x"}
    archive = compiler.compile(zip_of(files, modes))
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        assert {name: opened.getinfo(name).external_attr >> 16 for name in modes} == modes
        assert [opened.read(name).decode() for name in ("link", "dangling", "é中.txt")] == ["run.sh", "/no/where", "x"]


def test_execution_environment(compiler: Compiler) -> None:
    assert "exec.env" not in content_of(compiler.compile({"__main__.py": HELLO}))
    archive = compiler.compile({"__main__.py": HELLO}, env={"OW_EXECUTION_ENV": "openwhisk/action-python-v3.11"})
    assert content_of(archive)["exec.env"] == b"openwhisk/action-python-v3.11"


def test_compiling_again(compiler: Compiler, server: ActionServer) -> None:
    """Of what is an archive of this kind already only the bytecode is made anew."""
    once = compiler.compile({"__main__.py": HELLO.replace("main", "entry")}, "entry")
    assert compiler.compile(once, "other") == once
    assert result(server, once) == {"hello": "nobody"}


def test_archive_of_openwhisks_compiler(compiler: Compiler, server: ActionServer) -> None:
    """Its launcher names the function, whatever /init says; and what it starts stays in the archive."""
    files = {"exec": "#!/bin/bash\nexec python exec__.py\n", "main__.py": HELLO.replace("main", "entry"),
             "exec__.py": "import os\n\nfrom main__ import entry as main\n\nout = os.fdopen(3, 'wb')\n"}
    archive = compiler.compile(files)
    assert {name: content_of(archive)[name].decode() for name in files} == files
    assert result(server, archive) == {"hello": "nobody"}


def test_archive_of_openwhisks_compiler_as_it_is(server: ActionServer) -> None:
    files = {"exec": "#!/bin/bash\nexec python exec__.py\n", "main__.py": HELLO.replace("main", "entry"),
             "exec__.py": "from main__ import entry as main\n"}
    assert result(server, zip_of(files)) == {"hello": "nobody"}


def test_program_stays_a_program(compiler: Compiler) -> None:
    program = "#!/bin/sh\necho '{\"ok\":true}' >&3\n"
    assert list(content_of(compiler.compile({"exec": program, "data": "x"}))) == ["data", "exec"]


# --- for OpenWhisk's own proxy --------------------------------------------------


def unpack(archive: bytes, folder: Path) -> Path:
    """Unpacks an archive as the server does."""
    folder.mkdir()
    file = folder.with_suffix(".zip")
    file.write_bytes(archive)
    with file.open("rb") as source:
        subprocess.run([BINARY.parent / "pyunpack", folder], stdin=source, check=True)
    return folder


def run_exec(folder: Path, *messages: Any, wait_for_ack: bool = True) -> Tuple[List[Any], str, str]:
    """Starts the exec of a folder as the ActionLoop proxy does: its replies to messages, its stdout and stderr."""
    env = {"PATH": "/usr/local/bin:/usr/bin:/bin", **({"__OW_WAIT_FOR_ACK": "1"} if wait_for_ack else {})}
    replies = folder.with_suffix(".replies")
    done = subprocess.run(
        ["sh", "-c", 'exec "$0" 3>"$1"', folder / "exec", replies], cwd="/", env=env, timeout=PATIENCE,
        input="".join(json.dumps(message) + "\n" for message in messages).encode(),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=True)
    lines = replies.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines], done.stdout.decode(), done.stderr.decode()


LOOP = """
import os, sys
def entry(event):
    print("log", event, sys.stdin.read())
    if event == "fail":
        raise ValueError("no é")
    if event == "set":
        return {1, 2}
    return {"event": event, "id": os.environ.get("__OW_ACTIVATION_ID"), "deadline": os.environ.get("__OW_DEADLINE")}
"""


@pytest.mark.parametrize("files", [
    {"__main__.py": LOOP}, {"main__.py": LOOP}, {"exec": LOOP},
], ids=lambda files: next(iter(files)))
def test_exec_speaks_actionloop(compiler: Compiler, tmp_path: Path, files: Mapping[str, str]) -> None:
    folder = unpack(compiler.compile(files, "entry"), tmp_path / "function")
    replies, out, err = run_exec(
        folder, {"value": {"a": "é"}, "activation_id": "x", "deadline": 5}, {"value": "fail"}, {"value": "set"}, {})
    assert replies == [
        {"ok": True}, {"event": {"a": "é"}, "id": "x", "deadline": "5"}, {"error": "no é"},
        {"error": "Object of type set is not JSON serializable"}, {"event": {}, "id": "x", "deadline": "5"}]
    assert out.count("log ") == 4 and "ValueError: no é" in err
    assert run_exec(folder, {"value": 1}, wait_for_ack=False)[0] == [{"event": 1, "id": None, "deadline": None}]


def test_exec_of_a_handler_in_a_module(compiler: Compiler, tmp_path: Path) -> None:
    folder = unpack(compiler.compile({"pkg/mod.py": LOOP}, "pkg/mod.entry"), tmp_path / "function")
    assert run_exec(folder, {"value": 1})[0][1]["event"] == 1


# --- requirements.txt -----------------------------------------------------------

GREET = {"greet/__init__.py": "def hello(name):\n    return 'Hello ' + name\ndef tool():\n    print('the tool')\n",
         "greet/old.py": OLD, "greet/__pycache__/left.pyc": "x"}
GREETER = {
    "__main__.py": "import greet, subprocess\ndef main(event):\n"
                   "    tool = subprocess.run(['greet'], stdout=subprocess.PIPE, universal_newlines=True)\n"
                   "    return {'hello': greet.hello(event['name']), 'tool': tool.stdout, 'from': greet.__file__}\n",
    "requirements.txt": "greet==1.0  # comment\n"}


@pytest.fixture
def greeter(compiler: Compiler) -> bytes:
    compiler.add_wheel("greet", GREET, "greet:tool")
    return compiler.compile(GREETER)


def test_requirements(greeter: bytes, compiler: Compiler, server: ActionServer) -> None:
    """They are in the archive, with bytecode; requirements.txt stays, and pip is not started again, which would fail
    now: the index is empty."""
    content = content_of(greeter)
    assert f"{PACKAGES}/greet/__init__.py" in modules_of(greeter)
    assert content["requirements.txt"].decode() == GREETER["requirements.txt"]
    answer = result(server, greeter, {"name": "Ada"})
    assert (answer["hello"], answer["tool"]) == ("Hello Ada", "the tool\n")
    assert f"/{PACKAGES}/greet/__init__.py" in answer["from"]
    assert "pip" not in server.console


def test_requirements_for_openwhisks_proxy(greeter: bytes, tmp_path: Path) -> None:
    replies, _, _ = run_exec(unpack(greeter, tmp_path / "function"), {"value": {"name": "Ada"}})
    assert (replies[1]["hello"], replies[1]["tool"]) == ("Hello Ada", "the tool\n")


def test_the_same_archive_again(greeter: bytes, compiler: Compiler) -> None:
    assert compiler.compile(GREETER) == greeter
    assert compiler.compile(greeter) == greeter


def test_no_place_of_the_build_is_left_in_it(greeter: bytes, compiler: Compiler) -> None:
    for name, content in content_of(greeter).items():
        assert b"pyaction-compile" not in content, name


def test_empty_requirements(compiler: Compiler, server: ActionServer) -> None:
    archive = compiler.compile({"__main__.py": HELLO, "requirements.txt": "# nothing yet\n"})
    assert result(server, archive) == {"hello": "nobody"}
    assert "pip" not in server.console


def test_what_is_not_to_be_had(compiler: Compiler) -> None:
    messages = compiler.refuse(zip_of({"__main__.py": HELLO, "requirements.txt": "nowhere==1.0\n"}))
    assert "No matching distribution found for nowhere==1.0" in messages
    assert messages.splitlines()[-1] == "pyaction -compile: pip could not install requirements.txt (exit status 1)"


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory: Any) -> str:
    """A Python without pip."""
    folder = tmp_path_factory.mktemp("bare") / "environment"
    subprocess.run([PYTHON, "-m", "venv", "--without-pip", folder], check=True)
    return str(folder / "bin" / "python")


@pytest.mark.skipif(not list(Path("/usr/share/python-wheels").glob("pip-*.whl")), reason="no wheel of pip")
def test_pip_from_the_distributions_wheel(compiler: Compiler, server: ActionServer, bare_python: str) -> None:
    compiler.add_wheel("greet", GREET, "greet:tool")
    done = subprocess.run([bare_python, "-IS", BINARY.parent / "pycompile", "main"], input=zip_of(GREETER),
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=compiler.env, check=False)
    assert done.returncode == 0, done.stderr
    assert result(server, done.stdout, {"name": "Ada"})["hello"] == "Hello Ada"


def load_program() -> Any:
    """The program as a module, for what cannot be brought about from outside."""
    spec = importlib.util.spec_from_file_location("pyaction_compile", ROOT / "proxy" / "compile.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_no_pip_at_all(monkeypatch: pytest.MonkeyPatch, bare_python: str) -> None:
    program = load_program()
    monkeypatch.setattr(program, "PIP_WHEELS", "/nowhere/pip-*.whl")
    monkeypatch.setattr(sys, "executable", bare_python)
    with pytest.raises(program.Failed, match="cannot be installed: there is no pip for .* and no /nowhere/pip"):
        program.find_pip()


def test_virtualenv_of_the_archive(compiler: Compiler, server: ActionServer) -> None:
    """It is not made anew, requirements.txt or not, and gets its bytecode."""
    files = {"__main__.py": "import greet\ndef main():\n    return {'hello': greet.hello('x')}\n",
             f"{PACKAGES}/greet.py": "def hello(name):\n    return name\n", "requirements.txt": "greet==1.0\n"}
    archive = compiler.compile(files)
    assert f"{PACKAGES}/greet.py" in modules_of(archive)
    assert result(server, archive) == {"hello": "x"}


def test_invalid_virtualenv(compiler: Compiler) -> None:
    assert "Invalid virtualenv. Zip file does not include virtualenv/bin/activate_this.py" in compiler.refuse(
        zip_of({"__main__.py": HELLO, "virtualenv/readme.md": "x"}))


# --- code that is wrong ----------------------------------------------------------


@pytest.mark.parametrize(("files", "place", "reason"), [
    ({"__main__.py": "x = 1\ndef main(:\n    pass\n"}, '__main__.py", line 2', "SyntaxError"),
    ({"__main__.py": "import other\n" + HELLO, "other.py": OLD}, 'other.py", line 2', "SyntaxError"),
    ({"__main__.py": "from pkg import deep\n" + HELLO, "pkg/__init__.py": "", "pkg/deep.py": OLD},
     'pkg/deep.py", line 2', "SyntaxError"),
    ({"__main__.py": "import pkg.deep.x\n" + HELLO, "pkg/__init__.py": "from . import a\n",
      "pkg/a.py": "from .b import c", "pkg/b.py": OLD}, 'pkg/b.py", line 2', "SyntaxError"),
    ({"__main__.py": "def main():\n    import other\n", "other.py": "if x:\ny\n"}, 'other.py", line 2',
     "IndentationError"),
    ({"__main__.py": HELLO + "\0"}, "__main__.py", "null bytes"),
    ({"__main__.py": "# coding: nowhere\n" + HELLO}, "__main__.py", "unknown encoding"),
    ({"__main__.py": HELLO + "x = " + "(" * 5000 + ")" * 5000}, "__main__.py", "too many nested parentheses"),
    ({"__main__.py": HELLO + "x = 1" + "+x" * 100_000}, "__main__.py", "Error"),
    ({"__main__.py": "import greet\n" + HELLO, f"{PACKAGES}/greet.py": OLD}, 'greet.py", line 2', "SyntaxError"),
])
def test_what_does_not_compile(compiler: Compiler, files: Mapping[str, str], place: str, reason: str) -> None:
    messages = compiler.refuse(zip_of(files))
    assert place in messages and reason in messages


@pytest.mark.parametrize("main", [
    HELLO, "try:\n    import old\nexcept SyntaxError:\n    pass\n" + HELLO,
    "import sys\nif sys.version_info[0] < 3:\n    from old import x\n" + HELLO,
], ids=["not imported", "tried", "on a condition"])
def test_what_does_not_compile_and_is_not_needed(compiler: Compiler, server: ActionServer, main: str) -> None:
    files = {"__main__.py": main, "old.py": OLD, "templates/{{ x }}.py": "{{ x y }}"}
    status, archive, messages = compiler.run(zip_of(files))
    assert status == 0
    assert sorted(line.partition(":1")[0].partition(":2")[0] for line in messages.splitlines()) == [
        "Warning: old.py", "Warning: templates/{{ x }}.py"]
    assert "old.py:2 is not compiled: SyntaxError: " in messages
    assert result(server, archive) == {"hello": "nobody"}


def test_warnings_of_the_compiler(compiler: Compiler) -> None:
    """Those of the function, which no cold start will tell again; not those of its packages."""
    doubtful = "X = 1\nif X is 1:\n    pass\n"
    files = {"__main__.py": HELLO, "pkg/mod.py": doubtful, f"{PACKAGES}/greet.py": doubtful}
    status, _, messages = compiler.run(zip_of(files))
    assert status == 0 and len(messages.splitlines()) == 1
    assert messages.startswith('pkg/mod.py:2: SyntaxWarning: "is" with ')


@pytest.mark.parametrize(("code", "main", "reason"), [
    (b"", "main", "there is no code on stdin"),
    (zip_of({"other.py": HELLO}), "main", "Zip file does not include '__main__.py'"),
    (zip_of({"sub/__main__.py": HELLO}), "main", "Zip file does not include '__main__.py'"),
    (zip_of({"__main__.py": HELLO}), "pkg/mod.fn", "Zip file does not include 'pkg/mod.py'"),
    (zip_of({"__main__.py": HELLO}), "no name", "the handler 'no name' is not valid"),
    (zip_of({"__main__.py": HELLO}), "../up.fn", "the handler '../up.fn' is not valid"),
    (zip_of({"__main__.py": HELLO})[:-30], "main", "not a valid zip archive"),
    (b"PK\3\4", "main", "not a valid zip archive"), (b"\x1f\x8bxxx", "main", "not a valid tar.gz archive"),
    (zip_of({"../up.py": HELLO}), "main", "leads out"),
    (zip_of({"__main__.py": HELLO, "exec/x": ""}), "main", "'exec'"),
    (zip_of({"__main__.py": HELLO, f"{BYTECODE}/x": ""}), "main", f"cannot write '{BYTECODE}'"),
    (zip_of({("a" * 200 + "/") * 25 + "x.py": "", "__main__.py": HELLO}), "main", "too long"),
    (tar_of({("a" * 200 + "/") * 25 + "x.py": "", "__main__.py": HELLO}), "main", "too long"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_what_is_refused(compiler: Compiler, code: bytes, main: str, reason: str) -> None:
    messages = compiler.refuse(code, main)
    assert messages.startswith("pyaction -compile: ") and messages.count("\n") == 1
    assert reason in messages


@pytest.mark.parametrize(("name", "target"), [
    ("__pycache__", "OUTSIDE"), (BYTECODE, "OUTSIDE/kept"), ("exec", "OUTSIDE/kept"),
    ("exec__.py", "OUTSIDE/kept"), ("exec.env", "OUTSIDE/kept"), ("virtualenv", "OUTSIDE"),
    ("other.py", "OUTSIDE/x.py"), ("requirements.txt", "OUTSIDE/kept"),
])
def test_nothing_outside_is_written(compiler: Compiler, tmp_path: Path, name: str, target: str) -> None:
    """Wherever links of the archive lead."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("# kept\n")
    (outside / "x.py").write_text("x = 1\n")
    target = target.replace("OUTSIDE", str(outside))
    code = zip_of({"__main__.py": HELLO, name: target}, {name: stat.S_IFLNK | 0o777})
    compiler.run(code, env={"OW_EXECUTION_ENV": "here"})
    assert sorted(path.name for path in outside.iterdir()) == ["kept", "x.py"]
    assert (outside / "kept").read_text() == "# kept\n"


def test_code_of_the_function_is_not_run(compiler: Compiler, tmp_path: Path) -> None:
    """Neither its modules nor those that have names of the standard library's."""
    mark = tmp_path / "mark"
    trap = f"open({str(mark)!r}, 'w')\n"
    compiler.add_wheel("greet", GREET)
    names = ("__main__", "ast", "zipfile", "py_compile", "pip", "sitecustomize", "warnings", "subprocess")
    compiler.compile({**{f"{name}.py": trap + HELLO for name in names}, "requirements.txt": "greet\n"})
    assert not mark.exists()


def test_limits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An archive that the server would refuse is not made."""
    program = load_program()
    for name in ("a", "b", "c"):
        (tmp_path / name).write_text("x" * 1000)
    for limit, enough in (("ENTRIES_MAX", 3), ("BYTES_MAX", 3000)):
        with monkeypatch.context() as patch:
            patch.setattr(program, limit, enough)
            program.write_archive(str(tmp_path), io.BytesIO())
            patch.setattr(program, limit, enough - 1)
            with pytest.raises(program.Failed, match="it is more than"):
                program.write_archive(str(tmp_path), io.BytesIO())
        with monkeypatch.context() as patch:
            patch.setattr(program, "INPUT_MAX", 10)
            assert program.read_code(io.BytesIO(b"x" * 10), io.BytesIO()) == b"xx"
            with pytest.raises(program.Failed, match="is larger than 10 bytes"):
                program.read_code(io.BytesIO(b"x" * 11), io.BytesIO())


def test_limits_are_the_servers() -> None:
    program = load_program()
    header = (ROOT / "proxy" / "limits.h").read_text()
    for name, value in (("LIMIT_UNPACKED", program.BYTES_MAX), ("LIMIT_BODY_MAX", program.INPUT_MAX)):
        assert f"#define {name} ((size_t) {value >> 30} << 30)" in header
    assert f"#define LIMIT_ARCHIVE_ENTRIES {program.ENTRIES_MAX}\n" in header


# --- its end ---------------------------------------------------------------------


def test_nobody_takes_the_archive(compiler: Compiler) -> None:
    with open("/dev/full", "wb") as full:
        status, _, messages = compiler.run(zip_of({"__main__.py": HELLO}), stdout=full)
    assert (status, messages) == (1, "pyaction -compile: [Errno 28] No space left on device\n")


@pytest.mark.parametrize(("words", "message"), [
    (("-compile",), "-compile needs a value"), (("-compile", "main", "x", "y"), "unexpected argument"),
])
def test_wrong_command_lines(compiler: Compiler, words: Tuple[str, ...], message: str) -> None:
    status, archive, messages = compiler.run(b"", *words)
    assert (status, archive) == (2, b"") and message in messages


@contextlib.contextmanager
def silent_index() -> Iterator[Tuple[str, socket.socket]]:
    """The address of a package index that never answers, and its socket."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(8)
        listening.settimeout(PATIENCE)
        yield "http://127.0.0.1:%d/" % listening.getsockname()[1], listening


def processes_with(text: str) -> List[str]:
    """The ids of processes that have a text in their environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            found += [path.parent.name] if text.encode() in path.read_bytes() else []
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signal_while_pip_works(compiler: Compiler, number: int) -> None:
    """No file is left, and no process."""
    code = zip_of({"__main__.py": HELLO, "requirements.txt": "greet\n"})
    with silent_index() as (address, listening):
        env = {"PIP_NO_INDEX": "0", "PIP_INDEX_URL": address}
        with compiler.start("-compile", "main", env=env) as process:
            assert process.stdin is not None
            process.stdin.write(code)
            process.stdin.close()
            process.stdin = None
            listening.accept()[0].close()
            assert compiler.left() and len(processes_with(str(compiler.folder))) == 2
            process.send_signal(number)
            archive, _ = process.communicate(timeout=PATIENCE)
    assert (process.returncode, archive) == (128 + number, b"")
    assert compiler.left() == [] and processes_with(str(compiler.folder)) == []


def test_signal_while_it_reads(compiler: Compiler) -> None:
    with compiler.start("-compile", "main") as process:
        end = time.monotonic() + PATIENCE
        while not compiler.left():
            assert time.monotonic() < end
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 128 + signal.SIGTERM
    assert compiler.left() == []
