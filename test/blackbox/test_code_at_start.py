"""Code that is there at the start: --code, HANDLER, and what is said when it cannot be loaded."""

import os
import pathlib
import re
import signal
import subprocess
import time

import pytest

from .archives import zip_of
from .harness import (
    ABSENT,
    EXECUTABLE,
    LAMBDA_PATH,
    MARKER,
    PATIENCE,
    SANITIZED,
    SCF_PATH,
    base_environment,
    connections,
    free_port,
    http_request,
    init_body,
    orphans,
    tree,
    unread,
    wait_until,
    write_files,
)
from .test_environment import COW, USE_COW, _wheel, needs_pip, python_tag

#: A function of each convention, by the file and name that its vendor's examples have.
OPENWHISK = {"__main__.py": "def main(event):\n    return {'is': 'openwhisk', **event}\n"}
LAMBDA = {"lambda_function.py": "def lambda_handler(event, context):\n    return ['lambda', event]\n"}
SCF = {"index.py": "def main_handler(event, context):\n    return ['scf', event]\n"}

#: What each answers to {"a": 1} at /run.
ANSWERS = {
    "openwhisk": {"is": "openwhisk", "a": 1},
    "lambda": {"body": ["lambda", {"a": 1}]},
    "scf": {"body": ["scf", {"a": 1}]},
}


# --- where the code is


@pytest.mark.parametrize(
    ("files", "handler", "kind"),
    [
        pytest.param(OPENWHISK, "main", "openwhisk", id="openwhisk"),
        pytest.param(LAMBDA, "lambda_function.lambda_handler", "lambda", id="lambda"),
        pytest.param(SCF, "index.main_handler", "scf", id="scf"),
        pytest.param(OPENWHISK, "", "openwhisk", id="usual-openwhisk"),
        pytest.param(LAMBDA, "", "lambda", id="usual-lambda"),
        pytest.param(SCF, "", "scf", id="usual-scf"),
        pytest.param({**SCF, **LAMBDA, **OPENWHISK}, "", "openwhisk", id="usual-openwhisk-first"),
        pytest.param({**SCF, **LAMBDA}, "", "lambda", id="usual-lambda-second"),
    ],
)
def test_folder(function, files, handler, kind):
    assert function(files, handler).result({"a": 1}) == ANSWERS[kind]


@pytest.mark.parametrize(
    ("files", "handler"),
    [
        pytest.param({"pkg/__init__.py": "", "pkg/mod.py": OPENWHISK["__main__.py"]}, "pkg.mod.main", id="dots"),
        pytest.param({"pkg/mod.py": OPENWHISK["__main__.py"]}, "pkg/mod.main", id="slash"),
        pytest.param({"app.py": OPENWHISK["__main__.py"]}, "app.main", id="module"),
        pytest.param({"__main__.py": OPENWHISK["__main__.py"].replace("main", "greet")}, "greet", id="name"),
    ],
)
def test_handler(function, files, handler):
    assert function(files, handler).result({"a": 1}) == ANSWERS["openwhisk"]


@pytest.mark.parametrize(
    ("files", "handler", "kind"),
    [
        (OPENWHISK, "", "openwhisk"),
        (OPENWHISK, "main", "openwhisk"),
        (LAMBDA, "lambda_function.lambda_handler", "lambda"),
        (SCF, "index.main_handler", "scf"),
    ],
)
def test_zip(server, tmp_path, files, handler, kind):
    """Unpacked to the work directory, which is empty in the end (fixture server)."""
    path = write_files(tmp_path, {"code.zip": zip_of(files)}) / "code.zip"
    one = server(options=["--code", str(path), *([handler] if handler else [])])
    assert one.result({"a": 1}) == ANSWERS[kind]


@pytest.mark.parametrize(
    ("name", "handler"),
    [
        pytest.param("hello.py", "", id="main-of-the-file"),
        pytest.param("hello.py", "main", id="function"),
        pytest.param("hello.py", "hello.main", id="module-and-function"),
        pytest.param("__main__.py", "", id="__main__.py"),
    ],
)
def test_single_file(server, tmp_path, name, handler):
    """Its folder is the function's: modules and data beside it are found."""
    source = "import beside\ndef main(event):\n    return {**beside.told, **event}\n"
    folder = write_files(tmp_path / "f", {name: source, "beside.py": "told = {'is': 'openwhisk'}\n"})
    before = tree(folder)
    one = server(options=["--code", str(folder / name), *([handler] if handler else [])])
    assert one.result({"a": 1}) == ANSWERS["openwhisk"]
    assert tree(folder) == before


def test_relative_path_and_symbolic_link(server, tmp_path):
    folder = write_files(tmp_path / "f", OPENWHISK)
    (tmp_path / "link").symlink_to(folder)
    for path in ("../f", "../link", "../f/__main__.py"):
        assert server(options=["--code", path]).result({"a": 1}) == ANSWERS["openwhisk"]


def test_environment_twins(server, tmp_path):
    folder = write_files(tmp_path / "f", {**OPENWHISK, **LAMBDA})
    env = {"PYACTION_CODE": str(folder), "PYACTION_MAIN": "lambda_function.lambda_handler"}
    assert server(env=env).result({"a": 1}) == ANSWERS["lambda"]
    assert server(env=env, options=["main"]).result({"a": 1}) == ANSWERS["openwhisk"], "the HANDLER comes first"
    assert server(env={**env, "PYACTION_MAIN": ""}).result({"a": 1}) == ANSWERS["openwhisk"], "empty is absent"
    other = ["--code", str(write_files(tmp_path / "g", LAMBDA))]
    assert server(env={**env, "PYACTION_CODE": "/nonexistent"}, options=other).result({"a": 1}) == ANSWERS["lambda"]


def test_folder_is_the_working_directory(function):
    source = (
        "import os, sys\ndef main():\n    return {'cwd': os.getcwd(), 'path': sys.path[0], 'file': __file__,\n"
        "            'data': open('data.txt').read()}\n"
    )
    one = function({"__main__.py": source, "data.txt": "beside"})
    folder = str(one.folder)
    assert one.result() == {"cwd": folder, "path": folder, "file": folder + "/__main__.py", "data": "beside"}


def test_environment_of_the_container_is_the_functions(function):
    """Nothing comes with /init here: what `docker run -e` sets arrives."""
    source = "import os\nATIMPORT = os.environ['MINE']\ndef main():\n    return {'v': [ATIMPORT, os.environ['MINE']]}\n"
    assert function({"__main__.py": source}, env={"MINE": "set"}).result() == {"v": ["set", "set"]}


@pytest.mark.parametrize("handler", ["main", "lambda_function.lambda_handler", "index.main_handler"])
def test_nothing_is_written_to_the_folder(function, handler):
    """Neither bytecode of the modules that are imported, nor what a helper compiles for large ones (the fixture
    compares the folder)."""
    big = "".join(f"def f{n}(x):\n    return [x, {n}] * 3\n" for n in range(4000))
    load = "import small, big, pkg.inner\nVALUE = small.v\n"
    files = {
        "small.py": "v = 1\n",
        "big.py": big,
        "big2.py": big,
        "pkg/__init__.py": "",
        "pkg/inner.py": "import big2\n",
        "__main__.py": load + OPENWHISK["__main__.py"],
        "lambda_function.py": load + LAMBDA["lambda_function.py"],
        "index.py": load + SCF["index.py"],
    }
    one = function(files, handler)
    assert one.run({"a": 1}).status == 200
    assert not list(one.folder.rglob("__pycache__"))


def test_folder_survives_crashes(function):
    """The code is loaded again from where it is."""
    one = function({"__main__.py": "import os\nn = 0\ndef main(e):\n    global n\n    n += 1\n    e and os._exit(3)\n"
                                   "    return {'n': n}\n"})
    for _ in range(3):
        assert one.result({}) == {"n": 1}
        assert one.run({"end": 1}).status == 400


def test_zip_and_single_file_survive_crashes(server, tmp_path):
    source = "import os\ndef main(e):\n    e and os._exit(3)\n    return {'ok': 1}\n"
    folder = write_files(tmp_path / "f", {"hello.py": source, "c.zip": zip_of({"__main__.py": source})})
    for name in ("hello.py", "c.zip"):
        one = server(options=["--code", str(folder / name)])
        for _ in range(2):
            assert one.run({"end": 1}).status == 400
            assert one.result({}) == {"ok": 1}


# --- the folder that an image reserves

#: Runs a command where / has the entries that it has, and a folder: $1 is an empty one to build that in, $2 is what
#: becomes /function.
WITH_FUNCTION = """
set -e
root=$1 function=$2
shift 2
for entry in /*; do
    [ -d "$entry" ] && [ "$entry" != /function ] || continue
    mkdir "$root$entry"
    mount --bind "$entry" "$root$entry"
done
mkdir "$root/function"
mount --bind "$function" "$root/function"
cd "$root"
exec /usr/sbin/chroot . env --chdir=/tmp "$@"
"""

needs_mounts = pytest.mark.skipif(
    subprocess.run(["unshare", "--mount", "mount", "--bind", "/usr", "/mnt"], capture_output=True).returncode != 0,
    reason="may not mount anything here",
)


@pytest.fixture
def container(server, tmp_path):
    """Return a function that starts a server where the folder of these files is /function."""
    def start(files, *words):
        folder = write_files(tmp_path / "f", files)
        (tmp_path / "root").mkdir()
        folder.mkdir(exist_ok=True)
        wrapper = ["unshare", "--mount", "sh", "-c", WITH_FUNCTION, "sh", str(tmp_path / "root"), str(folder)]
        return server(options=words, wrapper=wrapper)

    return start


@needs_mounts
@pytest.mark.parametrize(
    ("files", "words", "kind"),
    [
        pytest.param(LAMBDA, ["lambda_function.lambda_handler"], "lambda", id="handler"),
        pytest.param(LAMBDA, [], "lambda", id="no-handler"),
        pytest.param({**LAMBDA, **OPENWHISK}, [], "openwhisk", id="usual"),
    ],
)
def test_reserved_folder(container, files, words, kind):
    """All that a person types is a mount and, maybe, the handler."""
    one = container(files, *words)
    assert one.result({"a": 1}) == ANSWERS[kind]
    assert one.init("def main():\n    return {}\n").status == 403


@needs_mounts
def test_reserved_folder_that_is_empty(container):
    """The same image, where the platform sends the code."""
    one = container({})
    assert one.init("def main(event):\n    return event\n").status == 200
    assert one.result({"a": 1}) == {"a": 1}


# --- requests


@pytest.mark.parametrize("files", [OPENWHISK, LAMBDA, SCF], ids=["openwhisk", "lambda", "scf"])
def test_init_is_refused(function, files):
    one = function(files)
    for body in (init_body("def main():\n    return {}\n"), b"not JSON", b'{"value": {}}'):
        answer = one.post("/init", body)
        assert (answer.status, answer.error) == (403, "Cannot initialize the action more than once.")
    assert one.err.text().count("Cannot initialize the action more than once.\n") == 3
    assert (one.out.markers(), one.err.markers()) == (0, 0)
    assert one.result({"a": 1}) in ANSWERS.values()


def test_requests_wait_for_the_code(function, gate):
    """Whoever comes before the import is done is answered after it, through every door."""
    one = function({"__main__.py": f"open({gate.path!r}).read()\n" + OPENWHISK["__main__.py"]})
    gate.wait_entered()
    calls = [one.background(one.post, path, {"a": n}) for n, path in enumerate((LAMBDA_PATH, SCF_PATH))]
    calls += [one.background(one.run, {"a": 2}), one.background(one.post, "/init", init_body("x = 1"))]
    gate.release()
    assert [call.result().status for call in calls] == [200, 200, 200, 403]
    assert [call.result().json["a"] for call in calls[:3]] == [0, 1, 2]


def test_stop_while_the_code_loads(function, gate):
    one = function({"__main__.py": f"open({gate.path!r}).read()\n" + OPENWHISK["__main__.py"]})
    gate.wait_entered()
    one.signal(signal.SIGTERM)
    assert one.wait() == 0
    assert one.err.content() == b""


# --- packages


@needs_pip
def test_requirements_are_installed_elsewhere(function, tmp_path):
    """Not into the author's folder (fixture function); and they are there after a crash, too."""
    wheels = write_files(tmp_path / "wheels", {"cow-1.0-py3-none-any.whl": _wheel("cow", COW)})
    files = {"__main__.py": USE_COW, "requirements.txt": "cow\n"}
    one = function(files, env={"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels)})
    assert one.result({}) == {"says": "moo"}
    before = one.runners()
    os.kill(before[0], signal.SIGKILL)
    wait_until(lambda: one.runners() not in ([], before), "another process takes its place")
    assert one.result({}) == {"says": "moo"}


def test_virtualenv_of_the_folder_is_used(function):
    files = {"__main__.py": USE_COW, f"virtualenv/lib/{python_tag()}/site-packages/cow.py": COW}
    assert function(files).result({}) == {"says": "moo"}


@needs_pip
def test_requirements_that_cannot_be_installed(tmp_path):
    files = {"__main__.py": USE_COW, "requirements.txt": "cow\n"}
    failure = Failure(tmp_path, files, "main", env={"PIP_NO_INDEX": "1"})
    assert "pip could not install requirements.txt" in failure.sentence
    assert "cow" in failure.stderr


# --- the convention


@pytest.mark.parametrize(
    ("handler", "options", "env", "convention", "reason"),
    [
        pytest.param("main", [], {}, "openwhisk", "neither lambda_handler nor main_handler", id="auto-main"),
        pytest.param("lambda_function.lambda_handler", [], {}, "lambda", "is called lambda_handler", id="auto-lambda"),
        pytest.param("index.main_handler", [], {}, "scf", "is called main_handler", id="auto-scf"),
        pytest.param("app.main", ["--convention", "lambda"], {}, "lambda", "PYACTION_CONVENTION", id="option"),
        pytest.param("app.main", [], {"PYACTION_CONVENTION": "scf"}, "scf", "PYACTION_CONVENTION", id="variable"),
        pytest.param(
            "index.main_handler", ["--convention", "openwhisk"], {"PYACTION_CONVENTION": "lambda"}, "openwhisk",
            "PYACTION_CONVENTION", id="option-before-variable",
        ),
        pytest.param(
            "lambda_function.lambda_handler", ["--convention", "auto"], {}, "lambda", "is called lambda_handler",
            id="auto-said",
        ),
    ],
)
def test_convention(function, handler, options, env, convention, reason):
    """--log-level info tells which was chosen, and why, in one line on stderr."""
    tell = "def {name}(event, context):\n    return {{'context': type(context).__name__}}\n"
    files = {
        "__main__.py": tell.format(name="main"),
        "app.py": tell.format(name="main"),
        "lambda_function.py": tell.format(name="lambda_handler"),
        "index.py": tell.format(name="main_handler"),
    }
    one = function(files, handler, options=[*options, "--log-level", "info"], env=env)
    kind = {"openwhisk": "Context", "lambda": "LambdaContext", "scf": "dict"}[convention]
    assert one.result({}) == {"context": kind}
    lines = [line for line in one.err.text().splitlines() if line.startswith("pyaction: convention ")]
    assert len(lines) == 1
    assert lines[0].startswith(f"pyaction: convention {convention} for the handler '{handler}', because ")
    assert reason in lines[0]


def test_convention_is_not_told_unasked(function):
    one = function(LAMBDA)
    assert one.run({}).status == 200
    assert "convention" not in one.err.text()


def test_log_level_by_its_environment_twin(function):
    one = function(LAMBDA, env={"PYACTION_LOG_LEVEL": "info"})
    assert one.run({}).status == 200
    assert one.err.text().startswith("pyaction: convention lambda ")


# --- code that cannot be loaded


class Failure:
    """A start of pyaction that must fail: exit status 3, soon, with a message, and nothing left behind."""

    def __init__(self, tmp_path: pathlib.Path, files, handler, *, code=ABSENT, options=(), env=None) -> None:
        folder = write_files(tmp_path / "code", files)
        folder.mkdir(exist_ok=True)
        work = write_files(tmp_path / "work", {})
        work.mkdir()
        before = tree(folder)
        self.code = str(folder if code is ABSENT else code)
        words = ["--host", "127.0.0.1", "--port", str(free_port()), "--work-dir", str(work), "--code", self.code]
        begun = time.monotonic()
        done = subprocess.run(
            [str(EXECUTABLE), *words, *options, *([handler] if handler else [])],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE,
            env={**base_environment(), "TMPDIR": str(work), **(env or {})}, check=False,
        )
        self.seconds = time.monotonic() - begun
        self.stdout, self.stderr = done.stdout, done.stderr
        assert done.returncode == 3, done
        assert self.seconds < (PATIENCE if SANITIZED else 15)
        assert tree(folder) == before
        assert list(work.iterdir()) == []
        assert orphans() == []
        self.sentence = self.stderr.splitlines()[-1]
        assert self.sentence.startswith("pyaction: "), done

    def assert_names(self, *words: str) -> None:
        """The last line says these, and where the code was looked for."""
        for word in (self.code, *words):
            assert word in self.sentence, self.sentence


#: Handler, its file, and the name of the function in it.
HANDLERS = {
    "openwhisk": ("main", "__main__.py", "main"),
    "lambda": ("lambda_function.lambda_handler", "lambda_function.py", "lambda_handler"),
    "scf": ("index.main_handler", "index.py", "main_handler"),
}

#: What is wrong with the code, its source, and words that the message must have.
BROKEN = {
    "syntax-error": ("1 = 2\n", ["yntax", "cannot assign to literal"]),
    "missing-dependency": ("import nowhere\n", ["No module named 'nowhere'"]),
    "raises": ("raise ValueError('at import')\n", ["ValueError: at import"]),
    "raises-without-a-text": ("raise ValueError\n", ["ValueError"]),
    "no-such-function": ("def other(e, c):\n    pass\n", ["{name}"]),
    "sys.exit": ("import sys\nsys.exit(7)\n", ["exit status 7"]),
    "crash": ("import os\nos.kill(os.getpid(), 9)\n", ["signal 9"]),
}


@pytest.mark.parametrize("kind", HANDLERS)
@pytest.mark.parametrize("wrong", BROKEN)
def test_code_that_cannot_be_loaded(tmp_path, kind, wrong):
    """L79: a function that was there at the start and is broken ends the server."""
    handler, file, name = HANDLERS[kind]
    source, words = BROKEN[wrong]
    failure = Failure(tmp_path, {file: source}, handler)
    failure.assert_names(f"'{handler}'", *(word.format(name=name) for word in words))
    assert failure.stdout == "" or kind == "lambda", "an error is said on stderr; Lambda logs it on stdout"


@pytest.mark.parametrize("kind", ["lambda", "scf"])
def test_file_that_is_missing(tmp_path, kind):
    handler, file, _ = HANDLERS[kind]
    Failure(tmp_path, {"other.py": ""}, handler).assert_names(f"'{handler}'", file[:-3])


def test_main_file_that_is_missing(tmp_path):
    Failure(tmp_path, {"other.py": ""}, "main").assert_names("'main'", "__main__.py")


def test_program_that_is_not_executable(tmp_path):
    """Its permissions are the author's, who has to mend them."""
    Failure(tmp_path, {"exec": "#!/bin/sh\n"}, "").assert_names("exec cannot be started: Permission denied")


def test_empty_folder(tmp_path):
    Failure(tmp_path, {}, "").assert_names("__main__.py")


@pytest.mark.parametrize("handler", ["a b", "../x.y", "x.y.", ".", "x."])
def test_handler_that_is_none(tmp_path, handler):
    Failure(tmp_path, OPENWHISK, handler).assert_names(f"'{handler}'")


def test_path_that_is_missing(tmp_path):
    failure = Failure(tmp_path, {}, "x.y", code=tmp_path / "nowhere")
    failure.assert_names("--code", "PYACTION_CODE", "No such file")
    assert failure.stderr.count("\n") == 1 and failure.stdout == ""


@pytest.mark.skipif(os.path.exists("/function"), reason="there is a folder /function here")
def test_default_path_that_is_missing(tmp_path):
    done = subprocess.run(
        [str(EXECUTABLE), "--port", str(free_port()), "app.handler"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE, env=base_environment(), check=False,
    )
    assert (done.returncode, done.stdout) == (3, "")
    assert "'/function'" in done.stderr and "--code" in done.stderr


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        pytest.param("hello.txt", "def main(): pass\n", ["hello.txt", ".py"], id="no-python-file"),
        pytest.param("code.zip", b"PK\x03\x04 is no archive", ["code.zip"], id="broken-zip"),
        pytest.param("empty.zip", b"", ["empty.zip", "NAME.py"], id="empty-file"),
        pytest.param("other.zip", zip_of({"app.py": ""}), ["other.zip", "__main__.py"], id="zip-without-main"),
    ],
)
def test_file_that_is_no_code(tmp_path, name, content, words):
    path = write_files(tmp_path / "f", {name: content}) / name
    Failure(tmp_path, {}, "", code=path).assert_names(*words)


def test_device_that_is_no_code(tmp_path):
    Failure(tmp_path, {}, "", code="/dev/null").assert_names("no folder and no file")


def test_requests_that_waited_for_code_that_fails(function, gate):
    """They are told to go elsewhere (503, SCF's 499), not left without an answer."""
    source = f"open({gate.path!r}).read()\nraise ValueError('late')\n"
    one = function({"__main__.py": source}, exit_status=3, ends_itself=True)
    gate.wait_entered()
    clients = [one.connect() for _ in range(3)]
    for client, path in zip(clients, ("/run", LAMBDA_PATH, SCF_PATH)):
        client.send(http_request("POST", path, b"{}"))
    wait_until(lambda: connections(one.port) == 3 and unread(one.port) == 0, "the server has read the requests")
    gate.release()
    assert [client.read_answer().status for client in clients] == [503, 503, 499]
    assert one.wait() == 3


def test_nobody_waits_for_markers_at_the_start(tmp_path):
    """The message on the console is for a person: no end-of-activation markers around it."""
    failure = Failure(tmp_path, {"__main__.py": "raise ValueError('x')\n"}, "main")
    assert MARKER.decode().strip() not in failure.stdout + failure.stderr
    assert re.match(r"Traceback \(most recent call last\):\n", failure.stderr)
