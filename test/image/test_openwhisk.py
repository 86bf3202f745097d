"""What OpenWhisk asks of an action container, asked as its invoker does: a connection for each call, /init repeated
while the connection is refused, health by connect and close, logs up to the marker on both streams, the container
paused between activations."""

from __future__ import annotations

import base64
import io
import json
import pathlib
import subprocess
import tarfile
import time
from typing import Any, Callable, Iterator, List

import pytest
from blackbox.archives import file_entry, link_entry, zip_of, zip_of_entries
from blackbox.harness import wait_until

from .containers import DOCKER, IMAGE, MARKER, ROOT, Answer, Container, Logs, docker, in_image, wheel_folder

Start = Callable[..., Container]
Figure = Callable[[str, Any], None]

ECHO = "def main(args):\n    return args\n"


class Action(Container):
    """A container in the hands of the invoker."""

    def activate(self, value: Any = None, **metadata: Any) -> Answer:
        """One activation: resumed before, paused after."""
        docker("unpause", self.name)
        try:
            assert self.connects(), "unhealthy"
            return self.run(value, **metadata)
        finally:
            docker("pause", self.name)


@pytest.fixture
def action() -> Iterator[Callable[..., Action]]:
    """Return a function that starts a container and initialises it; the first activation resumes it."""
    started = []

    def start(code: Any, options: Any = (), status: int = 200, **members: Any) -> Action:
        one = Action(["--memory=256m", "--cpus=1", "--ulimit=nofile=1024:1024", "--pids-limit=1024",
                      "--cap-drop=NET_RAW", "--cap-drop=NET_ADMIN", *options])
        started.append(one)
        answer = one.init(code, **members)
        assert answer.status == status, (answer, one.logs())
        if status == 200:
            assert answer.json == {"ok": True}
            docker("pause", one.name)
        return one

    yield start
    for one in started:
        docker("unpause", one.name, check=False)
        one.remove()


# --- life of a container ------------------------------------------------------------------------------------


def test_init_is_repeated_while_refused_and_then_answered(container: Start, figure: Figure) -> None:
    """`docker run` may return before anything listens."""
    began = time.monotonic()
    one = container()
    assert one.init(ECHO) == Answer(200, {"ok": True})
    figure("ms from docker run, most of them the engine's, to the answer of /init", (time.monotonic() - began) * 1000)


def test_run_before_init(container: Start) -> None:
    one = container()
    wait_until(one.connects, "it listens")
    answer = one.run({})
    assert (answer.status, answer.json) == (500, {"error": "no action defined yet"})
    assert one.logs() == Logs("", "")


def test_no_second_init(action: Callable[..., Action]) -> None:
    one = action(ECHO)
    docker("unpause", one.name)
    answer = one.init("def main(args):\n    return {'other': 'code'}\n")
    assert answer == Answer(403, {"error": "Cannot initialize the action more than once."})
    assert "Cannot initialize the action more than once." in one.logs().stderr
    docker("pause", one.name)
    assert one.activate({"a": 1}) == Answer(200, {"a": 1})


def test_health_checks_during_runs(action: Callable[..., Action]) -> None:
    one = action("import time\ndef main(args):\n    time.sleep(1)\n    return {'slept': True}\n")
    docker("unpause", one.name)
    run = one.background(one.run)
    checks = 0
    while not run.done():
        assert one.connects()
        checks += 1
        time.sleep(0.02)
    assert checks > 10
    assert run.result() == Answer(200, {"slept": True})
    docker("pause", one.name)


def test_paused_between_activations(action: Callable[..., Action]) -> None:
    """The state of the module is kept, and so are a thread of the function's and the order of its logs."""
    one = action("count = 0\ndef main(args):\n    global count\n    count += 1\n    print('activation', count)\n"
                 "    return {'count': count}\n")
    for number in range(1, 6):
        assert one.activate() == Answer(200, {"count": number})
        assert one.activation_logs() == Logs(f"activation {number}\n", "")


def test_concurrent_runs_never_mix(action: Callable[..., Action]) -> None:
    one = action("import time\ndef main(args):\n    time.sleep(0.05)\n    return args\n")
    docker("unpause", one.name)
    runs = [one.background(one.run, {"n": n}) for n in range(16)]
    assert [run.result() for run in runs] == [Answer(200, {"n": n}) for n in range(16)]
    docker("pause", one.name)


# --- arguments, results, context ----------------------------------------------------------------------------


@pytest.mark.parametrize("value", [
    {}, {"string": "Tür, 数, \U0001f600, \"\\\n"}, {"numbers": [0, -1, 1.5, 2 ** 63, 1e300]},
    {"nested": {"list": [None, True, [{}]]}}, ["a", {"b": 1}], [],
])
def test_echo(action: Callable[..., Action], value: Any) -> None:
    assert action(ECHO).activate(value) == Answer(200, value)


def test_large_arguments_and_results(action: Callable[..., Action]) -> None:
    """The platform's limit is 1 MB; a longer result must arrive whole, the invoker is who truncates it."""
    one = action(ECHO)
    value = {"text": "x" * (1 << 20)}
    assert one.activate(value) == Answer(200, value)
    more = action("def main(args):\n    return {'text': 'x' * (10 << 20)}\n").activate()
    assert len(more.json["text"]) == 10 << 20


def test_environment_of_an_activation(action: Callable[..., Action]) -> None:
    code = "import os\ndef main(args):\n    return dict(os.environ)\n"
    one = action(code, options=["--env=__OW_API_HOST=https://host", "--env=__OW_EXECUTION_ENV=python"],
                 env={"MINE": "yes", "__OW_NAMESPACE": "overridden"})
    answer = one.activate(activation_id="abc", api_key="key", deadline="1700000000000", transaction_id="t1")
    assert answer.status == 200
    expected = {"MINE": "yes", "__OW_API_HOST": "https://host", "__OW_API_KEY": "key", "__OW_ACTIVATION_ID": "abc",
                "__OW_ACTION_NAME": "/guest/hello", "__OW_NAMESPACE": "guest", "__OW_DEADLINE": "1700000000000",
                "__OW_TRANSACTION_ID": "t1", "__OW_EXECUTION_ENV": "python"}
    assert {key: answer.json.get(key) for key in expected} == expected


def test_not_an_object_and_not_an_array(action: Callable[..., Action]) -> None:
    for result in ("'text'", "1", "True"):
        one = action(f"def main(args):\n    return {result}\n")
        assert one.activate() == Answer(502, {"error": "The action did not return a dictionary or array."})
        one.activation_logs()


def test_result_with_error(action: Callable[..., Action]) -> None:
    one = action("def main(args):\n    return {'error': {'code': 42}}\n")
    assert one.activate() == Answer(200, {"error": {"code": 42}})
    one.activation_logs()


# --- logs ---------------------------------------------------------------------------------------------------


def test_logs_of_both_streams(action: Callable[..., Action]) -> None:
    one = action("import os, sys\ndef main(args):\n    print('to stdout')\n    print('to stderr', file=sys.stderr)\n"
                 "    os.system('echo from a child')\n    sys.stdout.write('no end of line')\n    return {}\n")
    for _ in range(2):
        assert one.activate().status == 200
        assert one.activation_logs() == Logs("to stdout\nfrom a child\nno end of line\n", "to stderr\n")


def test_exception(action: Callable[..., Action]) -> None:
    one = action("def main(args):\n    raise ValueError('it does not work')\n")
    answer = one.activate()
    assert answer.status == 502 and "it does not work" in answer.json["error"]
    logs = one.activation_logs()
    assert logs.stdout == ""
    assert "Traceback" in logs.stderr and "it does not work" in logs.stderr
    assert one.activate().status == answer.status


@pytest.mark.parametrize("end", ["sys.exit()", "sys.exit(3)", "os._exit(1)", "os.kill(os.getpid(), 11)"])
def test_process_ends_in_a_run(action: Callable[..., Action], end: str) -> None:
    one = action(f"import os, sys\ndef main(args):\n    if 'end' in args:\n        print('before')\n        {end}\n"
                 "    return {'alive': True}\n")
    answer = one.activate({"end": True})
    assert answer.status == 400 and answer.json["error"].startswith("command exited")
    assert one.activation_logs() == Logs("before\n", "")
    assert one.activate() == Answer(200, {"alive": True})


def test_variables_of_an_init_are_there_at_the_import(action: Callable[..., Action]) -> None:
    one = action("import os\nprint(os.environ['X'])\ndef main(args):\n    return {'x': os.environ['X']}\n",
                 env={"X": "y"})
    assert one.activate() == Answer(200, {"x": "y"})
    assert one.activation_logs() == Logs("y\n", "")


# --- code ---------------------------------------------------------------------------------------------------


def test_zip_with_modules_and_files(action: Callable[..., Action]) -> None:
    code = zip_of({
        "__main__.py": "from helper import text\n"
                       "def niam(args):\n    return {'text': text(), 'file': open('data.txt').read()}\n",
        "helper.py": "def text():\n    return 'from a module'\n", "data.txt": "from a file",
    })
    one = action(code, main="niam")
    assert one.activate() == Answer(200, {"text": "from a module", "file": "from a file"})


def test_zip_with_virtualenv(action: Callable[..., Action], version: str) -> None:
    one = action(zip_of({
        "__main__.py": "import greeting\ndef main(args):\n    return {'text': greeting.text}\n",
        "virtualenv/bin/activate_this.py": ACTIVATE.replace("VERSION", version),
        f"virtualenv/lib/{version}/site-packages/greeting.py": "text = 'from the virtualenv'\n",
    }))
    assert one.activate() == Answer(200, {"text": "from the virtualenv"})


def test_tar_gz(action: Callable[..., Action]) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        entry = tarfile.TarInfo("__main__.py")
        entry.size = len(ECHO)
        archive.addfile(entry, io.BytesIO(ECHO.encode()))
    assert action(buffer.getvalue()).activate({"a": 1}) == Answer(200, {"a": 1})


#: A virtual environment makes its packages importable by such a file.
ACTIVATE = """
import os, site
folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
site.addsitedir(os.path.join(folder, "lib", "VERSION", "site-packages"))
"""

#: What the launcher of OpenWhisk's image does is not ours to run: only the import tells which function was compiled.
LAUNCHER = "from main__ import niam as main\nraise SystemExit('the launcher of another image')\n"


@pytest.fixture(scope="module")
def version() -> str:
    """The folder of the image's Python in a virtual environment: python3.11."""
    return in_image("python3", "-c", "import sys; print('python%d.%d' % sys.version_info[:2])").strip()


@pytest.fixture
def precompiled(version: str) -> Callable[..., bytes]:
    """Return a function that makes an archive as the `-compile niam` of OpenWhisk's own image does, leaving out
    files by their names, or those below a folder."""
    def make(*without: str) -> bytes:
        entries = [
            file_entry("exec", "#!/bin/bash\ncd \"$(dirname $0)\"\nexec /usr/local/bin/python exec__.py \"$@\"\n",
                       0o755),
            file_entry("exec.env", "openwhisk/action-python-v3.11"),
            file_entry("exec__.py", LAUNCHER),
            file_entry("main__.py", "import greeting\ndef niam(args):\n    return {'text': greeting.text}\n"),
            file_entry("requirements.txt", "greeting==1.0\n"),
            file_entry("virtualenv/bin/activate_this.py", ACTIVATE.replace("VERSION", version)),
            link_entry("virtualenv/bin/python", "/usr/local/bin/python3"),
            link_entry("virtualenv/bin/python3", "python"),
            file_entry("virtualenv/pyvenv.cfg", "home = /usr/local/bin\n"),
            file_entry(f"virtualenv/lib/{version}/site-packages/greeting.py", "text = 'from the virtualenv'\n"),
        ]
        return zip_of_entries([entry for entry in entries if not any(name in entry.name for name in without)])

    return make


@pytest.mark.parametrize("main", ["main", "niam"])
def test_precompiled_archive(action: Callable[..., Action], precompiled: Callable[..., bytes], main: str) -> None:
    """The default handler is the one that it was compiled for; requirements.txt is not installed again."""
    one = action(precompiled(), main=main)
    assert one.activate() == Answer(200, {"text": "from the virtualenv"})
    assert one.activation_logs() == Logs("", "")


def test_precompiled_for_this_environment(action: Callable[..., Action], precompiled: Callable[..., bytes]) -> None:
    one = action(precompiled(), options=["--env=OW_EXECUTION_ENV=openwhisk/action-python-v3.11"])
    assert one.activate() == Answer(200, {"text": "from the virtualenv"})


@pytest.mark.parametrize("without, options, reason", [
    (["main__.py"], [], "Zip file does not include"),
    (["virtualenv/bin/activate_this.py", "site-packages"], [], "virtualenv/bin/"),
    ([], ["--env=OW_EXECUTION_ENV=another:1"], "'openwhisk/action-python-v3.11', this one is 'another:1'"),
], ids=["no-main", "invalid-virtualenv", "other-environment"])
def test_precompiled_archive_that_cannot_run(action: Callable[..., Action], precompiled: Callable[..., bytes],
                                             without: List[str], options: List[str], reason: str) -> None:
    one = action(precompiled(*without), options=options, status=502)
    logs = one.activation_logs()
    assert logs.stdout == "" and reason in logs.stderr


ACTION_LOOP = """#!/bin/sh
echo '{"ok":true}' >&3
while read -r line
do
    echo "log"
    printf '{"got": %s}\\n' "$line" >&3
done
"""


def action_loop(environment: str) -> bytes:
    """An archive of the program, for this execution environment."""
    return zip_of_entries([file_entry("exec", ACTION_LOOP, 0o755), file_entry("exec.env", environment)])


def test_program_that_speaks_action_loop(action: Callable[..., Action]) -> None:
    one = action(action_loop("pyaction:3"),
                 options=["--env=OW_EXECUTION_ENV=pyaction:3"])
    for number in range(2):
        assert one.activate({"n": number}).json["got"]["value"] == {"n": number}
        assert one.activation_logs() == Logs("log\n", "")


def test_program_of_another_environment(action: Callable[..., Action]) -> None:
    action(action_loop("another:1"),
           options=["--env=OW_EXECUTION_ENV=pyaction:3"], status=502)


@pytest.mark.parametrize("code, reason", [
    (zip_of({"other.py": ECHO}), "Zip file does not include"),
    (zip_of({"folder/__main__.py": ECHO}), "Zip file does not include"),
    ("def main(args)\n    return args\n", "SyntaxError"),
    ("import no_such_module\ndef main(args):\n    return args\n", "no_such_module"),
    ("raise RuntimeError('on purpose')\n", "on purpose"),
    ("def other(args):\n    return args\n", "main"),
    ("import sys\nsys.exit(1)\n", "Command exited abruptly during initialization."),
], ids=["no-main", "main-too-deep", "syntax", "import", "exception", "no-function", "exit"])
def test_init_that_fails(action: Callable[..., Action], code: Any, reason: str) -> None:
    one = action(code, status=502)
    logs = one.activation_logs()
    assert logs.stdout == "" and reason in logs.stderr
    assert one.init(ECHO) == Answer(200, {"ok": True})


def test_no_code(action: Callable[..., Action]) -> None:
    for members in ({}, {"code": ""}, {"code": None}):
        one = Container()
        try:
            wait_until(one.connects, "it listens")
            answer = one.post("/init", json.dumps({"value": members}).encode())
            assert answer == Answer(403, {"error": "Missing main/no code to execute."})
        finally:
            one.remove()


def test_binary_source(action: Callable[..., Action]) -> None:
    one = action(base64.b64encode(ECHO.encode()).decode(), binary=True)
    assert one.activate({"a": 1}) == Answer(200, {"a": 1})


def test_logs_of_an_init_stay_for_the_first_activation(action: Callable[..., Action]) -> None:
    one = action("print('imported')\ndef main(args):\n    print('run')\n    return {}\n")
    assert MARKER not in one.logs().stdout
    assert one.activate().status == 200
    assert one.activation_logs().stdout == "imported\nrun\n"


def test_compiled_in_the_image(action: Callable[..., Action], tmp_path: pathlib.Path) -> None:
    """`docker run -i IMAGE -compile main <in.zip >out.zip`: requirements.txt is installed then, not at the cold start,
    which has no such package to install."""
    code = zip_of({"__main__.py": "import greeting\ndef main(args):\n    return {'text': greeting.text}\n",
                   "requirements.txt": "--no-index\n--find-links /wheels\ngreeting==1.0\n"})
    compiled = subprocess.run(
        [DOCKER, "run", "--rm", "-i", "--network=none", "--read-only", "--tmpfs=/tmp", "--user=4711", "--cap-drop=ALL",
         f"--volume={wheel_folder(tmp_path)}:/wheels:ro", IMAGE, "-compile", "main"],
        input=code, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120)
    assert compiled.returncode == 0, compiled.stderr
    one = action(compiled.stdout)
    assert one.activate() == Answer(200, {"text": "installed"})


# --- stem cells ---------------------------------------------------------------------------------------------


def test_prewarmed_containers_wait_idle(figure: Figure) -> None:
    """Stem cells that no one talks to take less than a hundredth of a processor, and are ready."""
    cells = [Action() for _ in range(4)]
    try:
        for cell in cells:
            wait_until(cell.connects, "it listens")
        time.sleep(0.5)
        before = [cell.cpu_us() for cell in cells]
        time.sleep(2)
        used = max(cell.cpu_us() - early for cell, early in zip(cells, before))
        assert used < 20_000
        figure("microseconds of CPU that a waiting container takes in 2 s, at most", used)
        assert cells[0].init(ECHO).status == 200
        assert cells[0].run({"a": 1}) == Answer(200, {"a": 1})
    finally:
        for cell in cells:
            cell.remove()


# --- the runtimes manifest ----------------------------------------------------------------------------------

MANIFEST = json.loads((ROOT / "deploy" / "openwhisk" / "runtimes.json").read_text(encoding="utf-8"))
RUNTIMES = MANIFEST["runtimes"]["python"]


@pytest.mark.parametrize("entry", RUNTIMES, ids=[entry["kind"] for entry in RUNTIMES])
def test_manifest_names_images_that_make_image_makes(entry: Any) -> None:
    name = f"{entry['image']['name']}:{entry['image']['tag']}"
    if docker("image", "inspect", name, check=False).returncode != 0:
        pytest.skip(f"{name} is not built here")
    version = in_image("python3", "-c", "import sys; print('python:%d.%d' % sys.version_info[:2])", image=name)
    assert version.strip() == entry["kind"]


def test_manifest_has_one_default() -> None:
    assert [entry["kind"] for entry in RUNTIMES if entry["default"]] == ["python:3.11"]
    for cell in [cell for entry in RUNTIMES for cell in entry.get("stemCells", [])]:
        assert cell["initialCount"] >= 1 and cell["memory"].endswith(" MB")
