"""Every example of test/functions, run as its docstring shows it.

A docstring has commands on indented lines that start with `$ `, a `\\` at the
end continuing them, each followed by what it gives:

    console: TEXT       a line on the console of the container
    invoke: TEXT        a line on standard error
    exit status: N      if it is not 0
    JSON                on standard output, where ... stands for any text, and
                        a string that is nothing else for any value

The commands of one docstring run against one fresh container.
"""

from __future__ import annotations

import ast
import json
import re
import shlex
import shutil
import textwrap
import zipfile
from pathlib import Path
from typing import Any, Dict, List, NamedTuple

import pytest

from .harness import FUNCTIONS, ROOT, ActionServer, lines_of, run_script

# Needs what a machine may lack; it has a test of its own.
SPECIAL = {"cowsay_virtualenv", "runtime_package.py"}
# build.sh gets the commands of the distribution, not another Python's.
SYSTEM_PATH = "/usr/bin:/bin"


class Example(NamedTuple):
    command: List[str]
    expected: List[str]

    def starting(self, word: str) -> List[str]:
        prefix = f"{word}: "
        lines = [line for line in self.expected if line.startswith(prefix)]
        return [line[len(prefix) :] for line in lines]

    def results(self) -> List[Any]:
        words = ("console: ", "invoke: ", "exit status: ")
        return json_texts(
            "\n".join(x for x in self.expected if not x.startswith(words))
        )


def json_texts(text: str) -> List[Any]:
    """Parse JSON texts that follow each other."""
    values = []
    decoder = json.JSONDecoder()
    while text.strip():
        value, end = decoder.raw_decode(text.strip())
        values.append(value)
        text = text.strip()[end:]
    return values


def examples() -> List[Path]:
    """Return every OpenWhisk function: a file, or the folder of one. test_cloud_examples.py has the other clouds'."""
    return sorted(
        path
        for path in FUNCTIONS.iterdir()
        if path.suffix == ".py" or path.is_dir() and not path.name.startswith(("__pycache__", "lambda-", "scf-"))
    )


def docstring(function: Path) -> str:
    files = sorted(function.glob("*.py")) if function.is_dir() else [function]
    texts = [
        ast.get_docstring(ast.parse(f.read_text("utf-8")), clean=False) for f in files
    ]
    [text] = [text for text in texts if text and "$ scripts/invoke" in text]
    return text


def parse(text: str) -> List[Example]:
    found: List[Example] = []
    within = False
    for line in text.replace("\\\n", "").splitlines():
        if line.startswith("    $ "):
            found.append(Example(shlex.split(line[6:]), []))
            within = True
        elif not line.startswith("    "):
            within = False
        elif within:
            found[-1].expected.append(line[4:])
    return found


def matches(value: Any, expected: Any) -> bool:
    """Compare a result with what an example shows."""
    if expected == "...":
        return True
    if isinstance(expected, str) and isinstance(value, str):
        pattern = ".*".join(map(re.escape, expected.split("...")))
        return re.fullmatch(pattern, value, re.DOTALL) is not None
    if isinstance(expected, dict) and isinstance(value, dict):
        same_keys = value.keys() == expected.keys()
        return same_keys and all(matches(value[k], expected[k]) for k in expected)
    if isinstance(expected, list) and isinstance(value, list):
        return len(value) == len(expected) and all(map(matches, value, expected))
    return bool(type(value) is type(expected) and value == expected)


def check(
    example: Example, server: ActionServer, cwd: Path, env: Dict[str, str]
) -> None:
    assert example.command[0] == "scripts/invoke"
    done = run_script(
        "invoke",
        *example.command[1:],
        env={**env, "PYACTION_URL": server.url},
        cwd=cwd,
    )
    shown = f"{done.stdout.decode()}\n{done.stderr.decode()}\n{server.console}"
    status = int((example.starting("exit status") or ["0"])[0])
    assert done.returncode == status, shown
    results, expected = json_texts(done.stdout.decode()), example.results()
    assert matches(results, expected), shown
    for line in example.starting("invoke"):
        assert f"invoke: {line}" in lines_of(done.stderr), shown
    console = server.console.splitlines()
    for line in example.starting("console"):
        assert line in console, shown
        console.remove(line)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the examples, for a build.sh that leaves files behind."""
    shutil.copytree(FUNCTIONS, tmp_path / "test" / "functions")
    return tmp_path


@pytest.mark.parametrize(
    "function", [f for f in examples() if f.name not in SPECIAL], ids=lambda f: f.name
)
def test_example(function: Path, server: ActionServer, project: Path) -> None:
    shown = parse(docstring(function))
    assert shown
    for example in shown:
        check(example, server, project, {})


def test_runtime_package(server: ActionServer, project: Path) -> None:
    """The example that needs pandas, with a module of that name."""
    stub = project / "stub" / "pandas"
    stub.mkdir(parents=True)
    (stub / "__init__.py").write_text("")
    [example] = parse(docstring(FUNCTIONS / "runtime_package.py"))
    where = ["--env", f"PYTHONPATH={stub.parent}"]
    check(Example(example.command + where, example.expected), server, project, {})


def make_cowsay_wheel(directory: Path) -> None:
    """Make a package of cowsay's name and interface, so that pip needs no net."""
    code = "def get_output_string(char, text):\n    return f'<{text}> said a {char}'\n"
    info = "cowsay-5.0.dist-info"
    files = {
        "cowsay/__init__.py": code,
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: cowsay\nVersion: 5.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\n"
        "Tag: py3-none-any\n",
    }
    record = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(directory / "cowsay-5.0-py3-none-any.whl", "w") as wheel:
        for name, content in {**files, f"{info}/RECORD": record}.items():
            wheel.writestr(name, content)


def test_cowsay_virtualenv(server: ActionServer, project: Path) -> None:
    for command in ("virtualenv", "pip"):
        found = shutil.which(command, path=SYSTEM_PATH)
        assert found, f"install {command} (Debian: virtualenv, python3-pip)"
    make_cowsay_wheel(project)
    env = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(project), "PATH": SYSTEM_PATH}
    [example] = parse(docstring(FUNCTIONS / "cowsay_virtualenv"))
    check(example, server, project, env)


def test_remaining_time_is_that_of_the_command(
    server: ActionServer, project: Path
) -> None:
    function = project / "test" / "functions" / "context_only.py"
    arguments = ["--url", server.url, function, "--deadline-ms", "5000"]
    done = run_script("invoke", *arguments)
    left = json.loads(done.stdout)["body"]["milliseconds_left"]
    assert type(left) is int
    assert 0 < left <= 5000


def test_second_function_for_one_container(
    server: ActionServer, project: Path
) -> None:
    arguments = ["--url", server.url, project / "test" / "functions" / "hello.py"]
    assert run_script("invoke", *arguments).returncode == 0
    done = run_script("invoke", *arguments)
    assert done.returncode == 3
    assert b"restart it, or use --run-only" in done.stderr
    assert run_script("invoke", *arguments, "--run-only", "{}").returncode == 0


def test_function_that_does_not_load(server: ActionServer, tmp_path: Path) -> None:
    source = tmp_path / "broken.py"
    source.write_text("import no_such_module\n")
    done = run_script("invoke", "--url", server.url, source)
    assert (done.returncode, done.stdout) == (3, b"")
    assert "No module named 'no_such_module'" in server.console
    source.write_text("def main(): return {'loaded': True}\n")
    done = run_script("invoke", "--url", server.url, "--raw", source)
    assert json.loads(done.stdout) == {"loaded": True}


def test_numbers_pass_unchanged(server: ActionServer, tmp_path: Path) -> None:
    source = tmp_path / "same.py"
    source.write_text("def main(event): return event\n")
    event = '{"n": 9007199254740993, "é": [1.5, null, true]}'
    done = run_script("invoke", "--url", server.url, "--raw", source, event)
    assert json.loads(done.stdout) == json.loads(event)
    assert "9007199254740993" in done.stdout.decode()
    assert "é" in done.stdout.decode()


def test_zip_of_package_runs(server: ActionServer, project: Path) -> None:
    folder = project / "test" / "functions" / "include_file"
    out = project / "action.zip"
    assert run_script("package", folder, "-o", out).returncode == 0
    done = run_script("invoke", "--url", server.url, out)
    assert json.loads(done.stdout) == {"body": 'File contents: "Hello, World!"'}


def test_matching_can_fail() -> None:
    assert matches({"a": [1, "x-y"]}, {"a": [1, "...y"]})
    assert matches({"a": 7}, {"a": "..."})
    for value in ({"a": [1, "x-z"]}, {"a": [True, "x-y"]}, {"a": [1]}, {"b": 1}, []):
        assert not matches(value, {"a": [1, "...y"]})


def test_parsing() -> None:
    text = textwrap.dedent(
        """\
        Words, and a command:

            $ scripts/invoke a.py '{"b": \\
                1}'
            console: out
            {
              "c": 2
            }
            [3]
            exit status: 1
            $ scripts/invoke --run-only
            invoke: no
        More words.

            not an expectation
        """
    )
    first, second = parse(text)
    assert first.command == ["scripts/invoke", "a.py", '{"b":         1}']
    assert first.results() == [{"c": 2}, [3]]
    assert first.starting("console") == ["out"]
    assert first.starting("exit status") == ["1"]
    assert second.command[1:] == ["--run-only"]
    assert second.results() == []
    assert second.expected == ["invoke: no"]


def test_the_table_of_examples_is_complete() -> None:
    table = (FUNCTIONS / "README.md").read_text(encoding="utf-8")
    linked = set(re.findall(r"\]\(([^)#]+)\)", table))
    for function in examples():
        assert function.name in {link.rstrip("/") for link in linked}, function


@pytest.mark.parametrize("page", ["docs/functions.md", "test/functions/README.md"])
def test_links_lead_somewhere(page: str) -> None:
    path = ROOT / page
    text = path.read_text(encoding="utf-8")
    links = set(re.findall(r"\]\(([^)#]+)[^)]*\)", text))
    assert len(links) > 10
    for link in links:
        if not link.startswith("https://"):
            assert (path.parent / link).exists(), link
