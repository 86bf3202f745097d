"""A function of many modules: whatever is done to load it faster must not be noticed."""

import os

import pytest

from . import archives
from .archives import file_entry, zip_of, zip_of_entries
from .harness import MARKER

#: 60 modules, a bit over 1 MB of source; each knows its number.
MODULES = {
    f"module{n}.py": f"NUMBER = {n}\n" + "".join(f"def f{k}(a, b={k}):\n    return a * b + {k}\n" for k in range(450))
    for n in range(60)
}
IMPORTS = "".join(f"import module{n}\n" for n in range(60))
SUM = "def main():\n    return {'sum': sum(globals()[f'module{n}'].NUMBER for n in range(60))}\n"


def test_all_modules_are_imported(action):
    one = action(zip_of({"__main__.py": IMPORTS + SUM, **MODULES}))
    assert one.result() == {"sum": sum(range(60))}
    assert one.out.content() == one.err.content() == MARKER


def test_imports_in_the_other_order(action):
    main = "".join(f"import module{n}\n" for n in reversed(range(60))) + SUM
    assert action(zip_of({"__main__.py": main, **MODULES})).result() == {"sum": sum(range(60))}


def test_package_tree(action):
    files = {f"pkg/sub{n % 6}/{name}": text for n, (name, text) in enumerate(MODULES.items())}
    files.update({f"pkg/sub{n}/__init__.py": "" for n in range(6)}, **{"pkg/__init__.py": ""})
    main = "".join(f"from pkg.sub{n % 6} import module{n}\n" for n in range(60)) + SUM
    assert action(zip_of({"__main__.py": main, **files})).result() == {"sum": sum(range(60))}


def test_modules_imported_during_the_run(action):
    main = "import importlib\ndef main(event):\n    return {'n': importlib.import_module(event['name']).NUMBER}\n"
    one = action(zip_of({"__main__.py": main, **MODULES}))
    for n in range(60):
        assert one.result({"name": f"module{n}"}) == {"n": n}


def test_the_same_after_a_crash(action):
    main = "import os\n" + IMPORTS + "def main(event):\n    return os._exit(1) if event else {'n': module59.NUMBER}\n"
    one = action(zip_of({"__main__.py": main, **MODULES}))
    for _ in range(3):
        assert one.result({}) == {"n": 59}
        assert one.run({"die": 1}).status == 400


def test_import_that_is_helped_leaves_the_bytecode_to_the_helper(action):
    """All of it is there after a crash: then the import is on its own."""
    main = "import os, sys\n" + IMPORTS + (
        "during = sys.dont_write_bytecode\n"
        "def main(event):\n"
        "    if event:\n        os._exit(1)\n"
        "    files = [name for name in os.listdir('__pycache__') if name.endswith('.pyc')]\n"
        "    return {'during': during, 'after': sys.dont_write_bytecode, 'all': len(files) == 60}\n"
    )
    one = action(zip_of({"__main__.py": main, **MODULES}))
    before = one.result({})
    assert (before["during"], before["after"]) == (len(os.sched_getaffinity(0)) > 1, False)
    assert one.run({"die": 1}).status == 400
    assert one.result({}) == {"during": False, "after": False, "all": True}


def test_one_module_fails(server):
    """The traceback names it, and the next init knows nothing of it."""
    one = server()
    files = {"__main__.py": IMPORTS + SUM, **MODULES, "module31.py": "NUMBER = 31\n1 / 0\n"}
    assert one.init(zip_of(files)).status == 502
    assert "module31.py" in one.err.text() and "ZeroDivisionError" in one.err.text()
    assert one.init(zip_of({"__main__.py": IMPORTS + SUM, **MODULES})).status == 200
    assert one.result() == {"sum": sum(range(60))}


def test_unused_modules_that_cannot_be_compiled(action):
    """They are in every archive of tests and templates; only an import may complain."""
    spoiled = [
        file_entry("syntax_error.py", "def broken(:\n"),
        file_entry("null_byte.py", b"a = '\0'\n"),
        file_entry("encoding.py", b"# coding: no-such-codec\n"),
        file_entry("latin.py", "a = 'é'\n".encode("latin-1")),
        file_entry("nested.py", "(" * 50_000),
        file_entry("deep.py", "x = " + "-" * 100_000 + "1\n"),
        file_entry("python2.py", "print 'hello'\n"),
        file_entry("empty.py", ""),
        file_entry("template.py", "{{ cookiecutter.name }} = 1\n"),
        file_entry("folder.py/data", "x"),
        archives.link_entry("dangling.py", "nowhere.py"),
        archives.link_entry("loop.py", "loop.py"),
        archives.link_entry("tree", "."),
        file_entry("warns.py", "a = '\\d'\nassert (1, 'always true')\n0 is 0\n"),
        file_entry("not.ascii.grüße.py", "x = 1\n"),
        file_entry("unreadable.py", "x = 1\n", 0),
    ]
    entries = [file_entry("__main__.py", IMPORTS + SUM), *spoiled]
    entries += [file_entry(name, text) for name, text in MODULES.items()]
    one = action(zip_of_entries(entries))
    assert one.out.content() + one.err.content() == b""
    assert one.result() == {"sum": sum(range(60))}


def test_warnings_of_the_compiler_come_once(action):
    files = {**MODULES, "module7.py": "NUMBER = 7\nodd = '\\d'\n"}
    settings = {"PYTHONWARNINGS": "always"}
    one = action(zip_of({"__main__.py": IMPORTS + SUM, **files}), env=settings)
    assert one.err.text().count("invalid escape sequence") == 1


def test_no_bytecode_when_the_user_wants_none(action):
    main = IMPORTS + "import os\ndef main():\n    return {'files': sorted(os.listdir('.'))}\n"
    one = action(zip_of({"__main__.py": main, **MODULES}), env={"PYTHONDONTWRITEBYTECODE": "1"})
    assert "__pycache__" not in one.result()["files"]


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(
            "import os\n"
            "while True:\n"
            "    try:\n        os.wait()\n"
            "    except ChildProcessError:\n        break\n",
            id="waits-for-all-children",
        ),
        pytest.param(
            "import signal\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\n", id="ignores-SIGCHLD"
        ),
        pytest.param(
            "import os, signal\n"
            "def reap(*_):\n"
            "    try:\n        os.waitpid(-1, os.WNOHANG)\n"
            "    except ChildProcessError:\n        pass\n"
            "signal.signal(signal.SIGCHLD, reap)\n",
            id="reaps-in-a-handler",
        ),
        pytest.param(
            "import os, subprocess\n"
            "assert subprocess.run(['true']).returncode == 0\n"
            "assert os.system('exit 3') >> 8 == 3\n",
            id="runs-programs",
        ),
        pytest.param("import os\nif os.fork() == 0:\n    os._exit(0)\n", id="forks"),
        pytest.param("import os\nos.closerange(10, 256)\n", id="closes-descriptors"),
        pytest.param("import os\nos.chdir('/')\n", id="changes-directory"),
        pytest.param(
            "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n", id="thread"
        ),
    ],
)
def test_import_that_minds_its_children(action, first):
    """The function's own handling of processes at import meets none but its own, or does no harm."""
    one = action(zip_of({"__main__.py": first + IMPORTS + SUM + first, **MODULES}))
    assert one.result() == {"sum": sum(range(60))}
    assert one.result() == {"sum": sum(range(60))}
    assert one.err.content() == MARKER * 2


def test_function_finds_no_children_but_its_own(action):
    main = IMPORTS + (
        "import os\n"
        "def main():\n"
        "    try:\n        return {'found': os.waitpid(-1, os.WNOHANG)}\n"
        "    except ChildProcessError:\n        return {'found': None}\n"
    )
    assert action(zip_of({"__main__.py": main, **MODULES})).result() == {"found": None}


def test_exit_during_a_large_import(server):
    one = server()
    files = {"__main__.py": IMPORTS + "import os\nos._exit(3)\n", **MODULES}
    assert one.init(zip_of(files)).status == 502
    assert one.init(zip_of({"__main__.py": IMPORTS + SUM, **MODULES})).status == 200
    assert one.result() == {"sum": sum(range(60))}
