"""/init: what it takes, what it answers, what it logs."""

import base64
import json

import pytest

from . import archives
from .harness import ABSENT, MARKER, Gate, wait_until

HELLO = "def main(event):\n    return {'greeting': 'Hello ' + event.get('name', 'stranger')}\n"

NOT_INITIALISED = "The action failed to generate or locate a binary. See logs for details."
CANNOT_START = "Cannot start action. Check logs for details."
ONLY_ONCE = "Cannot initialize the action more than once."


def assert_one_marker_each(server):
    """A failed init is an activation of its own: one marker on each stream, nothing on stdout."""
    assert server.out.content() == MARKER
    assert server.err.markers() == 1
    assert server.err.content().endswith(MARKER)


# --- forms of code


@pytest.mark.parametrize(
    "code",
    [
        pytest.param(HELLO, id="source"),
        pytest.param(HELLO.encode(), id="base64-source"),
        pytest.param(archives.zip_of({"__main__.py": HELLO}), id="zip-main"),
        pytest.param(archives.zip_of({"exec": HELLO}), id="zip-exec-python"),
    ],
)
def test_every_form_of_code_runs(action, code):
    one = action(code)
    assert one.result({"name": "Sammy"}) == {"greeting": "Hello Sammy"}
    assert one.out.content() == MARKER
    assert one.err.content() == MARKER


def test_init_answer_is_json_with_ok_and_no_marker(server):
    one = server()
    answer = one.init(HELLO)
    assert (answer.status, answer.json) == (200, {"ok": True})
    assert answer.headers["content-type"].startswith("application/json")
    assert one.out.content() + one.err.content() == b""


def test_pretty_printed_body(server):
    one = server()
    body = json.dumps({"value": {"code": HELLO, "env": {"A": "1"}}}, indent=4).replace("\n", "\r\n")
    assert one.post("/init", body.encode()).status == 200
    assert one.result({"name": "x"}) == {"greeting": "Hello x"}


@pytest.mark.parametrize("key", ["name", "main", "binary", "env"])
def test_every_key_but_code_is_optional(action, key):
    assert action(HELLO, **{key: ABSENT}).result() == {"greeting": "Hello stranger"}


def test_code_alone_is_enough(server):
    one = server()
    assert one.post("/init", {"value": {"code": HELLO}}).json == {"ok": True}
    assert one.result() == {"greeting": "Hello stranger"}


@pytest.mark.parametrize(
    "keys",
    [
        pytest.param({"env": None}, id="env-null"),
        pytest.param({"env": {}}, id="env-empty"),
        pytest.param({"main": ""}, id="main-empty"),
        pytest.param({"main": None}, id="main-null"),
        pytest.param({"name": ""}, id="name-empty"),
        pytest.param({"name": "ä/ö b"}, id="name-odd"),
        pytest.param({"surplus": {"deep": [1, None]}, "Code": 7}, id="unknown-keys"),
    ],
)
def test_lenient_keys(action, keys):
    assert action(HELLO, **keys).result() == {"greeting": "Hello stranger"}


def test_unknown_keys_beside_value_are_ignored(server):
    one = server()
    document = {"api": [1, {"code": 5}], "value": {"code": HELLO}, "more": None}
    assert one.post("/init", document).status == 200
    assert one.result() == {"greeting": "Hello stranger"}


def test_base64_with_line_ends(server):
    one = server()
    lines = base64.encodebytes(archives.zip_of({"__main__.py": HELLO})).decode()
    assert "\n" in lines.strip()
    body = {"value": {"code": lines.replace("\n", "\r\n"), "binary": True}}
    assert one.post("/init", body).json == {"ok": True}
    assert one.result() == {"greeting": "Hello stranger"}


def test_json_escapes_in_source(server):
    """Every character of the source may come escaped, a pair of surrogates included."""
    one = server()
    escaped = "".join(f"\\u{ord(c):04x}" for c in "def main():\n    return {'a': '")
    body = '{"value": {"code": "%s\\ud83d\\ude00\\u00e4\\\\\\"'"'"'}"}}' % escaped
    assert one.post("/init", body.encode()).status == 200
    assert one.result() == {"a": '\U0001f600ä"'}


# --- the module


def test_module_name_guard_and_directory(action):
    code = (
        "import os, sys\n"
        "ran = []\n"
        "if __name__ == '__main__':\n"
        "    ran.append('guard')\n"
        "def main():\n"
        "    return {'name': __name__, 'ran': ran, 'cwd': os.getcwd(), 'path': sys.path[0],\n"
        "            'file': os.path.dirname(os.path.abspath(__file__))}\n"
    )
    one = action(archives.zip_of({"__main__.py": code}))
    result = one.result()
    assert result["name"] == "main__"
    assert result["ran"] == []
    assert result["cwd"] == result["path"] == result["file"]
    assert result["cwd"].startswith(str(one.work_dir) + "/")


def test_seed_example_reads_a_file_by_relative_path(action):
    code = (
        "def main():\n"
        "  with open('to_be_included.txt', 'r') as file:\n"
        "    file_contents = file.read()\n"
        "    return {\n"
        "      'body': f'File contents: \"{file_contents}\"'\n"
        "    }\n"
    )
    one = action(archives.zip_of({"__main__.py": code, "to_be_included.txt": "Hello, World!"}))
    assert one.result() == {"body": 'File contents: "Hello, World!"'}


def test_user_module_comes_before_an_installed_one(action):
    files = {
        "__main__.py": "import colorsys\ndef main():\n    return {'who': colorsys.WHO}\n",
        "colorsys.py": "WHO = 'mine'\n",
    }
    assert action(archives.zip_of(files)).result() == {"who": "mine"}


def test_module_state_lasts_between_runs(action):
    one = action("n = 0\ndef main():\n    global n\n    n += 1\n    return {'n': n}\n")
    assert [one.result()["n"] for _ in range(3)] == [1, 2, 3]


def test_pickle_and_dataclass_find_their_module(action):
    """The module is in sys.modules under its name, as pickle and dataclasses need it."""
    code = (
        "from __future__ import annotations\n"
        "import dataclasses, pickle\n"
        "@dataclasses.dataclass\n"
        "class Point:\n"
        "    x: int\n"
        "def main():\n"
        "    return {'x': pickle.loads(pickle.dumps(Point(3))).x}\n"
    )
    assert action(code).result() == {"x": 3}


@pytest.mark.parametrize(
    ("main", "files"),
    [
        pytest.param("niam", {"__main__.py": "def niam():\n    return {'ok': 1}\n"}, id="name"),
        pytest.param(
            "index.handler",
            {"index.py": "def handler():\n    return {'ok': 1}\n"},
            id="module.function",
        ),
        pytest.param(
            "pkg/mod.fn",
            {"pkg/__init__.py": "", "pkg/mod.py": "def fn():\n    return {'ok': 1}\n"},
            id="folder/module.function",
        ),
        pytest.param(
            "pkg.sub.mod.fn",
            {
                "pkg/__init__.py": "ONE = 1\n",
                "pkg/sub/__init__.py": "",
                "pkg/sub/mod.py": "from .. import ONE\ndef fn():\n    return {'ok': ONE}\n",
            },
            id="dotted-package",
        ),
        pytest.param(
            "space.mod.fn",
            {"space/mod.py": "def fn():\n    return {'ok': 1}\n"},
            id="namespace-package",
        ),
        pytest.param(
            "fn", {"__main__.py": "from lib import fn\n", "lib.py": "fn = lambda: {'ok': 1}\n"},
            id="imported-name",
        ),
    ],
)
def test_main_names_the_function(action, main, files):
    assert action(archives.zip_of(files), main=main).result() == {"ok": 1}


@pytest.mark.parametrize(
    "main",
    [
        "../outside.fn", "/etc/passwd.fn", "..", ".", "x.", ".x", "a..b", "a b.c d", "main\0", "\ud800", "é.ü",
        "os.getcwd", "__main__.main", "x" * 10_000, "main()", "main;1/0", "-", "pkg/", "/",
    ],
    ids=lambda main: ascii(main)[:20],
)  # fmt: skip
def test_odd_main(server, main):
    """A function, or an error that names what is missing; the next init is as good as new."""
    one = server()
    answer = one.init(archives.zip_of({"__main__.py": HELLO}), main=main)
    assert answer.status in (200, 400, 502), answer
    if answer.status != 200:
        assert answer.error
        assert one.init(HELLO).status == 200
    assert one.run({}).status in (200, 502)


def test_archive_precompiled_by_the_go_proxy(action):
    """What `proxy -compile` makes of a function: a shell script `exec` that starts a launcher."""
    files = {
        "exec": '#!/bin/bash\ncd "$(dirname $0)"\n/usr/local/bin/python -u exec__.py "$@"\n',
        "exec__.py": "raise SystemExit('the launcher of another proxy')\n",
        "exec.env": "openwhisk/action-python-v3.11",
        "main__.py": HELLO,
    }
    assert action(archives.zip_of(files)).result({"name": "Go"}) == {"greeting": "Hello Go"}


def test_main_of_a_plain_source(action):
    assert action("def handle():\n    return {'ok': 1}\n", main="handle").result() == {"ok": 1}


def test_import_finished_before_the_answer(server, gate: Gate):
    one = server()
    code = f"open({gate.path!r}).read()\ndef main():\n    return {{}}\n"
    pending = one.background(one.init, code)
    gate.wait_entered()
    assert not pending.done()
    gate.release()
    assert pending.result().status == 200


def test_what_the_import_prints_is_kept_without_a_marker(action):
    one = action(
        "import sys\nprint('out at import')\nprint('err at import', file=sys.stderr)\n" + HELLO
    )
    assert one.out.content() == b"out at import\n"
    assert one.err.content() == b"err at import\n"
    one.result()
    assert one.out.content() == b"out at import\n" + MARKER
    assert one.err.content() == b"err at import\n" + MARKER


# --- text of the source


@pytest.mark.parametrize(
    "source",
    [
        pytest.param("\ufeffdef main():\n    return {'a': 'é'}\n".encode(), id="bom"),
        pytest.param("def main():\n    return {'a': 'é'}\n".encode(), id="utf-8"),
        pytest.param(
            "# -*- coding: latin-1 -*-\ndef main():\n    return {'a': 'é'}\n".encode("latin-1"),
            id="pep263-latin-1",
        ),
        pytest.param(
            "#!/usr/bin/env python3\n# vim: set fileencoding=cp1252 :\n"
            "def main():\n    return {'a': 'é'}\n".encode("cp1252"),
            id="pep263-second-line",
        ),
        pytest.param("def main():\r\n    return {'a': 'é'}\r\n".encode(), id="crlf"),
        pytest.param("def main():\n    return {'a': 'é'}".encode(), id="no-final-newline"),
    ],
)
@pytest.mark.parametrize("form", ["base64", "zip"])
def test_source_encodings(action, source, form):
    code = source if form == "base64" else archives.zip_of({"__main__.py": source})
    assert action(code).result() == {"a": "é"}


def test_source_text_with_a_bom(action):
    assert action("\ufeffdef main():\n    return {'a': 'é'}\n").result() == {"a": "é"}


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(b"def main():\n    return {'a': '\0'}\n", id="null-byte"),
        pytest.param(b"def main():\n    return {'a': '\xff'}\n", id="not-utf-8"),
        pytest.param(b"# coding: no-such-codec\ndef main():\n    return {}\n", id="bad-codec"),
        pytest.param(b"\x7fELF\x02\x01\x01\x00 not python", id="elf"),
    ],
)
def test_source_that_python_refuses(server, source):
    one = server()
    answer = one.init(source)
    assert answer.status == 502
    assert answer.error.startswith((NOT_INITIALISED, CANNOT_START))
    assert b"Error" in one.err.content()
    assert_one_marker_each(one)
    assert one.init(HELLO).status == 200
    assert one.result() == {"greeting": "Hello stranger"}


def test_null_character_in_source_text(server):
    one = server()
    answer = one.init("def main():\n    return {'a': '\0'}\n")
    assert answer.status in (400, 502), answer
    assert answer.error
    assert one.init(HELLO).status == 200


def test_large_source(action):
    # Few long lines: a sanitizer's string checks take time for each line that grows with what follows it.
    padding = "# " + "x" * 7998 + "\n"
    assert action(padding * 1000 + HELLO).result() == {"greeting": "Hello stranger"}


def test_empty_source_has_no_main(server):
    one = server()
    answer = one.init("# nothing\n")
    assert answer.status == 502
    assert b"main" in one.err.content()
    assert_one_marker_each(one)


# --- refusals


@pytest.mark.parametrize(
    "document",
    [
        pytest.param({}, id="empty-object"),
        pytest.param({"value": {}}, id="empty-value"),
        pytest.param({"value": {"name": "a", "main": "main"}}, id="no-code"),
        pytest.param({"value": {"code": ""}}, id="code-empty"),
        pytest.param({"value": {"code": None}}, id="code-null"),
        pytest.param({"value": {"code": "", "binary": True}}, id="binary-empty"),
    ],
)
def test_no_code(server, document):
    one = server()
    answer = one.post("/init", document)
    assert (answer.status, answer.error) == (403, "Missing main/no code to execute.")
    assert MARKER not in one.out.content() + one.err.content()
    assert one.init(HELLO).status == 200


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty-body"),
        pytest.param(b"{", id="unterminated"),
        pytest.param(b"code", id="not-json"),
        pytest.param(b'{"value": {"code": "pass"}} trailing', id="trailing"),
        pytest.param(b'{"value": {"code": "\xff"}}', id="not-utf-8"),
        pytest.param(b"[]", id="array"),
        pytest.param(b'"text"', id="string"),
        pytest.param(b'{"value": "pass"}', id="value-string"),
        pytest.param(b'{"value": [1]}', id="value-array"),
        pytest.param(b'{"value": {"code": 5}}', id="code-number"),
        pytest.param(b'{"value": {"code": ["pass"]}}', id="code-array"),
        pytest.param(b'{"value": {"code": "pass", "main": 5}}', id="main-number"),
        pytest.param(b'{"value": {"code": "pass", "binary": "yes"}}', id="binary-string"),
        pytest.param(b'{"value": {"code": "pass", "env": ["A=1"]}}', id="env-array"),
        pytest.param(b'{"value": {"code": "pass", "env": "A=1"}}', id="env-string"),
    ],
)
def test_malformed_init(server, body):
    one = server()
    answer = one.post("/init", body)
    assert answer.status == 400
    assert answer.error.startswith("Error unmarshaling request: ")
    assert len(answer.error) > len("Error unmarshaling request: ")
    assert MARKER not in one.out.content() + one.err.content()
    assert one.init(HELLO).status == 200


def test_deeply_nested_init_is_refused(server):
    one = server()
    answer = one.post("/init", b'{"value": ' + b"[" * 100_000 + b"]" * 100_000 + b"}")
    assert answer.status == 400
    assert one.init(HELLO).status == 200


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("not base64!", id="alphabet"),
        pytest.param("ab=c", id="padding-inside"),
        pytest.param("YWJ", id="padding-missing"),
        pytest.param("\u00e4\u00e4\u00e4\u00e4", id="non-ascii"),
    ],
)
def test_bad_base64(server, text):
    one = server()
    answer = one.post("/init", {"value": {"code": text, "binary": True}})
    assert answer.status == 400
    assert answer.error.startswith("cannot decode the request: ")
    assert MARKER not in one.out.content() + one.err.content()
    assert one.init(HELLO).status == 200


def test_second_init_is_refused(action):
    one = action(HELLO)
    answer = one.init("def main():\n    return {'second': 1}\n")
    assert (answer.status, answer.error) == (403, ONLY_ONCE)
    assert one.out.content() + one.err.content() == ONLY_ONCE.encode() + b"\n"
    assert one.result() == {"greeting": "Hello stranger"}


def test_two_inits_at_once(server, gate: Gate):
    """One wins, the other is refused, and the winner's code is what runs."""
    one = server()
    first = one.background(
        one.init, f"open({gate.path!r}).read()\ndef main():\n    return {{'who': 'first'}}\n"
    )
    gate.wait_entered()
    second = one.background(one.init, "def main():\n    return {'who': 'second'}\n")
    gate.release()
    assert first.result().status == 200
    assert (second.result().status, second.result().error) == (403, ONLY_ONCE)
    assert one.result() == {"who": "first"}


def test_many_inits_at_once(server):
    one = server()
    pending = [
        one.background(one.init, f"def main():\n    return {{'who': {i}}}\n") for i in range(10)
    ]
    statuses = [p.result().status for p in pending]
    assert sorted(statuses) == [200] + [403] * 9
    assert one.result() == {"who": statuses.index(200)}


# --- failures


@pytest.mark.parametrize(
    ("code", "evidence"),
    [
        pytest.param("def main(:\n    pass\n", "SyntaxError", id="syntax-error"),
        pytest.param("def main():\npass\n", "IndentationError", id="indentation-error"),
        pytest.param("import no_such_module\n" + HELLO, "no_such_module", id="unknown-import"),
        pytest.param("1 / 0\n" + HELLO, "ZeroDivisionError", id="exception"),
        pytest.param("raise KeyboardInterrupt\n" + HELLO, "KeyboardInterrupt", id="interrupt"),
    ],
)
@pytest.mark.parametrize("form", ["source", "zip"])
def test_code_that_fails_to_load(server, code, evidence, form):
    one = server()
    answer = one.init(code if form == "source" else archives.zip_of({"__main__.py": code}))
    assert answer.status == 502
    assert evidence in answer.error, "a failed init says why in the reply"
    assert evidence in one.err.text()
    assert "Traceback" in one.err.text()
    assert_one_marker_each(one)


def test_syntax_error_has_a_traceback_and_a_documented_text(server):
    """The official container tests look for `Traceback` or the text "cannot start"."""
    one = server()
    answer = one.init("def main():\n    return {\n")
    assert answer.error.startswith((NOT_INITIALISED, CANNOT_START))
    assert "Traceback" in one.err.text()
    assert "SyntaxError" in one.err.text()


def test_traceback_shows_the_users_frames_only(server):
    one = server()
    files = {
        "__main__.py": "import helper\ndef main():\n    return {}\n",
        "helper.py": "def dig():\n    raise LookupError('the reason')\n\n\ndig()\n",
    }
    assert one.init(archives.zip_of(files)).status == 502
    text = one.err.text()
    assert "LookupError: the reason" in text
    assert text.index("helper.py") > text.index("__main__.py" if "__main__.py" in text else "main__")
    assert "raise LookupError('the reason')" in text
    assert "pyrunner" not in text and "bootstrap" not in text


@pytest.mark.parametrize(
    ("main", "code"),
    [
        pytest.param("main", "def other():\n    pass\n", id="missing"),
        pytest.param("main", "main = 5\n", id="not-callable"),
        pytest.param("nothing.here", HELLO, id="no-such-module"),
        pytest.param("main", "from main__ import nothing\n", id="circular"),
    ],
)
def test_entry_point_missing(server, main, code):
    one = server()
    answer = one.init(archives.zip_of({"__main__.py": code}), main=main)
    assert answer.status == 502
    assert answer.error
    assert (main.split(".")[0] in one.err.text()) or "nothing" in one.err.text()
    assert_one_marker_each(one)


@pytest.mark.parametrize(
    "ending",
    [
        pytest.param("import sys; sys.exit(1)", id="sys.exit"),
        pytest.param("import sys; sys.exit()", id="sys.exit-0"),
        pytest.param("import os; os._exit(0)", id="os._exit"),
        pytest.param("import os; os.abort()", id="abort"),
        pytest.param("import os; os.kill(os.getpid(), 9)", id="sigkill"),
    ],
)
def test_process_that_ends_during_init(server, ending):
    one = server()
    answer = one.init(f"print('before', flush=True)\n{ending}\n" + HELLO)
    assert answer.status == 502
    assert answer.error.startswith(CANNOT_START)
    assert one.out.content() == b"before\n" + MARKER
    assert "Command exited abruptly during initialization." in one.err.text()
    assert one.err.content().endswith(b"\n" + MARKER)
    assert one.err.markers() == 1
    assert one.init(HELLO).status == 200
    assert one.result() == {"greeting": "Hello stranger"}


def test_failed_then_good_init(server):
    one = server()
    for attempt in range(3):
        assert one.init(f"raise ValueError({attempt})\n").status == 502
    assert one.init(HELLO).status == 200
    assert one.result() == {"greeting": "Hello stranger"}
    assert one.init(HELLO).status == 403
    assert one.out.markers() == one.err.markers() == 4


def test_failed_init_leaves_no_module_behind(server):
    """Modules, files and the path of a failed init do not show in the next one."""
    one = server()
    files = {"__main__.py": "import left\n1 / 0\n", "left.py": "", "left.txt": "x"}
    assert one.init(archives.zip_of(files)).status == 502
    code = (
        "import os\n"
        "try:\n    import left\n    found = True\n"
        "except ImportError:\n    found = False\n"
        "def main():\n    return {'found': found, 'file': os.path.exists('left.txt')}\n"
    )
    assert one.init(code).status == 200
    assert one.result() == {"found": False, "file": False}
    wait_until(lambda: len(list(one.work_dir.iterdir())) <= 1, "the failed init's files go")


def test_unbounded_recursion_at_import(server):
    one = server()
    assert one.init("def f():\n    f()\nf()\n").status == 502
    assert "RecursionError" in one.err.text()
    assert one.init(HELLO).status == 200


def test_threads_started_at_import_go_on(action):
    code = (
        "import threading\n"
        "ready = threading.Event()\n"
        "threading.Thread(target=ready.set, daemon=True).start()\n"
        "def main():\n    return {'ready': ready.wait(5)}\n"
    )
    assert action(code).result() == {"ready": True}
