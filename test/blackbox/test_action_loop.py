"""Archives whose exec is a program that speaks the ActionLoop protocol, and the execution environment they ask for."""

import pytest

from .archives import file_entry, zip_of_entries
from .harness import MARKER

#: Answers with what it got; some words in the event make it do something else.
SHELL = r"""#!/bin/bash
echo "starts in $PWD"
echo "$GREETING" >&2
[ -n "$__OW_WAIT_FOR_ACK" ] && echo '{"ok":true}' >&3
while read -r line
do
    echo "log"
    case $line in
    *exits*) exit 7 ;;
    *dies*) kill -9 $$ ;;
    *scalar*) echo 5 >&3 ;;
    *garbage*) echo '{"a":' >&3 ;;
    *error*) echo '{"error": "its own"}' >&3 ;;
    *) printf '{"got": %s}\n' "$line" >&3 ;;
    esac
done
"""


def archive(program: str, *others, permissions: int = 0o755) -> bytes:
    return zip_of_entries([file_entry("exec", program, permissions), *others])


def test_a_program(action) -> None:
    one = action(archive(SHELL), env={"GREETING": "from init"})
    assert one.run({"a": [1, "é"]}, activation_id="x").json == {"got": {"value": {"a": [1, "é"]}, "activation_id": "x"}}
    assert one.run({"error": 1}).json == {"error": "its own"}
    assert "from init" in one.err.text() and one.out.text().count("log\n" + MARKER.decode()) == 2


@pytest.mark.parametrize(("event", "status", "error"), [
    ("scalar", 502, "The action did not return a dictionary or array."),
    ("garbage", 502, "The action's reply is not JSON"),
    ("exits", 400, "command exited (exit status 7)"),
    ("dies", 400, "command exited (exit status 137)"),
])
def test_what_goes_wrong(action, event: str, status: int, error: str) -> None:
    """And the next activation works."""
    one = action(archive(SHELL))
    answer = one.run({"do": event})
    assert answer.status == status and error in answer.error
    assert one.result({"n": 1}) == {"got": {"value": {"n": 1}}}


def test_large_messages(action) -> None:
    program = "echo '{\"ok\":true}' >&3\nwhile read -r line; do printf '%s\\n' \"$line\" >&3; done\n"
    one = action(archive("#!/bin/bash\n" + program))
    assert one.result("x" * 3_000_000) == {"value": "x" * 3_000_000}


@pytest.mark.parametrize(("program", "error"), [
    ("#!/bin/sh\nexit 3\n", "Cannot start action. Check logs for details. (exit status 3)"),
    ("#!/bin/sh\necho '{\"ok\":false}' >&3; sleep 9\n", "The action did not initialize properly."),
    ("#!/bin/sh\necho 'no json' >&3; sleep 9\n", "The action did not initialize properly."),
    ("#!/nowhere/at/all\n", "exec cannot be started: No such file or directory"),
])
def test_programs_that_do_not_start(server, program: str, error: str) -> None:
    one = server()
    answer = one.init(archive(program))
    assert answer.status == 502 and error in answer.error
    assert one.init(archive(SHELL)).status == 200


@pytest.mark.parametrize("permissions", [0o644, 0])
def test_archive_without_modes(action, permissions: int) -> None:
    """Java's tools and Windows make such; OpenWhisk's proxy sees to it that exec can be executed."""
    one = action(archive(SHELL, permissions=permissions))
    assert one.result({"n": 1}) == {"got": {"value": {"n": 1}}}


def test_python_goes_before_a_program(action) -> None:
    """As in archives that OpenWhisk's own runtime has precompiled: exec starts a launcher that is not needed here."""
    one = action(archive("#!/bin/false\n", file_entry("main__.py", "def main(): return {'is': 'python'}")))
    assert one.result() == {"is": "python"}


@pytest.mark.parametrize("files", [
    [file_entry("exec", SHELL, 0o755)],
    [file_entry("exec", "#!/bin/false\n", 0o755), file_entry("main__.py", "def main(): return {}")],
])
def test_execution_environment(server, files) -> None:
    made_for = [*files, file_entry("exec.env", " openwhisk/action-python-v3.11\n")]
    for variable, accepted in (
        ({}, True), ({"OW_EXECUTION_ENV": "openwhisk/action-python-v3.11"}, True),
        ({"OW_EXECUTION_ENV": "openwhisk/action-python-v3.12"}, False),
    ):
        answer = server(env=variable).init(zip_of_entries(made_for))
        assert (answer.status == 200) is accepted, answer
        if not accepted:
            assert "compiled for the execution environment 'openwhisk/action-python-v3.11'" in answer.error
    assert server(env={"OW_EXECUTION_ENV": "other"}).init(zip_of_entries(files)).status == 200
