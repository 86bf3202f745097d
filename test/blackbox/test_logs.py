"""What comes out on stdout and stderr: every byte, in order, then one marker on each."""

import os
import pty
import select
import signal

import pytest

from .harness import MARKER, PYTHON, STOP_SECONDS, Gate, wait_until


def only(*parts: bytes) -> bytes:
    """The outputs of activations, each with its marker."""
    return b"".join(part + MARKER for part in parts)


def test_print_and_logging(action):
    one = action(
        "import logging, sys\n"
        "def main():\n"
        "    print('to stdout')\n"
        "    print('to stderr', file=sys.stderr)\n"
        "    logging.warning('a warning')\n"
        "    return {}\n"
    )
    one.result()
    assert one.out.content() == only(b"to stdout\n")
    assert one.err.content() == only(b"to stderr\nWARNING:root:a warning\n")


def test_silent_activations(action):
    one = action("def main():\n    return {}\n")
    for _ in range(3):
        one.result()
    assert one.out.content() == one.err.content() == MARKER * 3


def test_markers_are_written_before_the_answer(action):
    """The log is complete when the answer is there, however often one looks."""
    one = action("import os\ndef main(event):\n    print(event['n'])\n    return {}\n")
    client = one.connect()
    for n in range(200):
        assert one.run({"n": n}, client=client).status == 200
        assert one.out.content().endswith(b"%d\n" % n + MARKER)
        assert one.err.markers() == n + 1


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_line_without_an_end(action, stream):
    """The marker stands on its own line: whoever reads it drops that whole line."""
    one = action(f"import sys\ndef main():\n    sys.{stream}.write('no newline')\n    return {{}}\n")
    one.result()
    log = one.out if stream == "stdout" else one.err
    other = one.err if stream == "stdout" else one.out
    assert log.content() == only(b"no newline\n")
    assert other.content() == MARKER
    one.result()
    assert log.content() == only(b"no newline\n", b"no newline\n")


def test_carriage_return_is_no_line_end(action):
    one = action("def main():\n    print('50%\\r100%', end='\\r')\n    return {}\n")
    one.result()
    assert one.out.content() == only(b"50%\r100%\r\n")


IN_ORDER = """
import ctypes, logging, os, subprocess, sys
libc = ctypes.CDLL(None)
def main():
    print('1 print')
    os.write(1, b'2 os.write\\n')
    libc.puts(b'3 C stdio')
    subprocess.run(['echo', '4 child process'])
    sys.stdout.write('5 sys.stdout ')
    os.write(1, b'6 os.write\\n')
    os.system('echo 7 os.system')
    sys.stdout.buffer.write(b'8 buffer\\n')
    subprocess.run(['sh', '-c', 'echo 9 last child'])
    print('10 end')
    return {}
"""


def test_every_way_to_write_comes_out_in_order(action):
    one = action(IN_ORDER)
    one.result()
    assert one.out.content() == only(
        b"1 print\n2 os.write\n3 C stdio\n4 child process\n5 sys.stdout 6 os.write\n"
        b"7 os.system\n8 buffer\n9 last child\n10 end\n"
    )


def test_c_stdio_without_a_flush_is_not_lost(action):
    """What C keeps in its buffer is out before the marker."""
    one = action(
        "import ctypes\nlibc = ctypes.CDLL(None)\n"
        "def main(event):\n    libc.printf(b'from C %d\\n', event['n'])\n    return {}\n"
    )
    for n in range(2):
        one.result({"n": n})
    assert one.out.content() == only(b"from C 0\n", b"from C 1\n")


def test_order_across_both_streams_in_one_file(action):
    """With `2>&1` both streams are one: what was written first stands first."""
    code = (
        "import logging, os, subprocess, sys\n"
        "def main():\n"
        "    for n in range(50):\n"
        "        print('out', n)\n"
        "        print('err', n, file=sys.stderr)\n"
        "        os.write(1 + n % 2, b'raw %d\\n' % n)\n"
        "    subprocess.run(['sh', '-c', 'echo child out; echo child err >&2; echo child out'])\n"
        "    logging.error('logged')\n"
        "    print('end')\n"
        "    return {}\n"
    )
    one = action(code, settings={"stderr": "stdout"})
    one.result()
    expected = "".join(f"out {n}\nerr {n}\nraw {n}\n" for n in range(50))
    expected += "child out\nchild err\nchild out\nERROR:root:logged\nend\n"
    assert one.out.content() == expected.encode() + MARKER * 2


def test_unterminated_lines_in_one_file(action):
    code = (
        "import sys\ndef main():\n    sys.stdout.write('out')\n    sys.stderr.write('err')\n"
        "    return {}\n"
    )
    one = action(code, settings={"stderr": "stdout"})
    one.result()
    assert one.out.content() in (b"outerr\n" + MARKER * 2, b"out\nerr\n" + MARKER * 2)


@pytest.mark.parametrize(
    "locale", [{}, {"LANG": "C"}, {"LC_ALL": "POSIX"}, {"LANG": "de_DE.ISO-8859-1"}], ids=str
)
def test_unicode_whatever_the_locale(action, locale):
    code = (
        "# grüße\n"
        "import logging, sys\nprint('Import: grüße')\n"
        "def main():\n"
        "    print('grüße 日本 \U0001f600')\n"
        "    logging.error('日本')\n"
        "    open('grüße.txt', 'w').write('ä')\n"
        "    return {'size': len(open('grüße.txt', 'rb').read())}\n"
    )
    one = action(code, settings={"env": locale})
    assert one.result() == {"size": 2}
    assert one.out.text() == "Import: grüße\ngrüße 日本 \U0001f600\n" + MARKER.decode()
    assert one.err.text() == "ERROR:root:日本\n" + MARKER.decode()


def test_lone_surrogate_can_be_printed(action):
    """File names that are no UTF-8 come as surrogate escapes: a log must not fail for one."""
    one = action("def main():\n    print('name \\udcff')\n    return {'ok': 1}\n")
    assert one.result() == {"ok": 1}
    assert one.out.content() in (only(b"name \xff\n"), only(b"name \\udcff\n"))


# --- nothing is lost

ENDINGS = {
    "os._exit": "os._exit(1)",
    "sigkill": "os.kill(os.getpid(), 9)",
    "abort": "os.abort()",
    "sys.exit": "sys.exit(1)",
    "exec": "os.execv('/bin/true', ['true'])",
    "exception": "raise ValueError('x')",
    "forked": "subprocess.run(['kill', '-9', str(os.getpid())]); time.sleep(30)",
}


@pytest.mark.parametrize("ending", sorted(ENDINGS))
def test_output_before_the_end_of_the_process_is_kept(action, ending):
    one = action(
        "import os, subprocess, sys, time\n"
        "def main():\n"
        "    print('a line')\n"
        "    print('and a part', end='')\n"
        "    print('on stderr', end='', file=sys.stderr)\n"
        f"    {ENDINGS[ending]}\n"
    )
    one.run()
    assert one.out.content() == only(b"a line\nand a part\n")
    assert one.err.content().startswith(b"on stderr")
    assert one.err.content().endswith(b"\n" + MARKER)
    assert one.err.markers() == 1


@pytest.mark.parametrize("ending", ["os._exit", "sigkill"])
def test_c_stdio_before_the_end_of_the_process(action, ending):
    one = action(
        "import ctypes, os\n"
        "def main():\n"
        "    ctypes.CDLL(None).puts(b'from C')\n"
        f"    {ENDINGS[ending]}\n"
    )
    assert one.run().status == 400
    assert one.out.content() == only(b"from C\n")


@pytest.mark.parametrize("ending", ["os._exit", "sigkill"])
def test_large_output_before_the_end_of_the_process(action, ending):
    """More than any pipe holds, and the process dies right after the write."""
    one = action(
        "import os, sys\n"
        "def main():\n"
        "    print('x' * 1_000_000)\n"
        f"    {ENDINGS[ending]}\n"
    )
    assert one.run().status == 400
    assert one.out.content() == only(b"x" * 1_000_000 + b"\n")


def test_output_of_a_failed_init_is_kept(server):
    one = server()
    code = "import os\nprint('loading', end='')\nos.write(2, b'warned')\nraise ValueError('reason')\n"
    assert one.init(code).status == 502
    assert one.out.content() == only(b"loading\n")
    assert one.err.content().startswith(b"warned")
    assert b"ValueError: reason\n" in one.err.content()
    assert one.err.content().endswith(b"\n" + MARKER)


def test_a_line_of_a_million_bytes(action):
    one = action("def main():\n    print('y' * 1_000_000)\n    return {}\n")
    one.result()
    assert one.out.content() == only(b"y" * 1_000_000 + b"\n")


def test_a_flood_on_both_streams(action):
    one = action(
        "import sys\n"
        "def main():\n"
        "    for n in range(25_000):\n"
        "        sys.stdout.write(f'{n:07} ' + 'o' * 91 + '\\n')\n"
        "        sys.stderr.write(f'{n:07} ' + 'e' * 91 + '\\n')\n"
        "    return {}\n"
    )
    one.result()
    for log, letter in ((one.out, "o"), (one.err, "e")):
        lines = [f"{n:07} " + letter * 91 + "\n" for n in range(25_000)]
        assert log.content() == only("".join(lines).encode())


def test_binary_output_is_not_touched(action):
    data = bytes(range(256)) * 100 + b"\n"
    one = action(
        "import os\n"
        "def main():\n    os.write(1, bytes(range(256)) * 100 + b'\\n')\n    return {}\n"
    )
    one.result()
    assert one.out.content() == only(data)


def test_a_thousand_lines_from_ten_threads(action):
    """Lines of threads are not torn or lost."""
    one = action(
        "import threading\n"
        "def work(k):\n    for n in range(100):\n        print(f'{k}:{n}', flush=True)\n"
        "def main():\n"
        "    threads = [threading.Thread(target=work, args=(k,)) for k in range(10)]\n"
        "    [t.start() for t in threads]; [t.join() for t in threads]\n"
        "    return {}\n"
    )
    one.result()
    (output, rest) = one.out.activations()
    numbers = [part for line in output.split(b"\n") for part in line.split() if part]
    assert rest == b""
    assert sorted(numbers) == sorted(b"%d:%d" % (k, n) for k in range(10) for n in range(100))


def test_background_thread_prints_into_a_later_activation(action, gate: Gate):
    """What a thread prints between two runs is in the log, before the next marker."""
    code = (
        "import threading\n"
        "def late(path):\n    open(path).read()\n    print('printed late', flush=True)\n"
        "def main(event):\n"
        "    if 'gate' in event:\n"
        "        threading.Thread(target=late, args=(event['gate'],), daemon=True).start()\n"
        "    return {}\n"
    )
    one = action(code)
    one.result({"gate": gate.path})
    assert one.out.content() == only(b"")
    gate.wait_entered()
    gate.release()
    wait_until(lambda: b"late" in one.out.content(), "the thread's line reaches the log")
    one.result()
    assert one.out.content() == only(b"", b"printed late\n")


def test_child_prints_after_its_activation(action, gate: Gate):
    code = (
        "import subprocess\n"
        "def main(event):\n"
        "    if 'gate' in event:\n"
        "        subprocess.Popen(['sh', '-c', 'read x < $0; echo from child', event['gate']])\n"
        "    return {}\n"
    )
    one = action(code)
    one.result({"gate": gate.path})
    gate.wait_entered()
    gate.release()
    wait_until(lambda: b"from child" in one.out.content(), "the child's line reaches the log")
    one.result()
    assert one.out.content() == only(b"", b"from child\n")


def test_output_that_looks_like_a_marker(action):
    """Nobody forges a marker in the proxy: it passes on what it gets and adds its own."""
    one = action(f"def main():\n    print({MARKER.decode().strip()!r})\n    return {{}}\n")
    one.result()
    assert one.out.content() == MARKER * 2
    assert one.err.content() == MARKER


def test_refused_requests_leave_no_trace_in_the_log(action):
    one = action("def main():\n    return {}\n")
    assert one.post("/run", b"nonsense").status == 400
    assert one.request("GET", "/run").status == 405
    assert one.request("POST", "/nowhere", b"{}").status == 404
    assert one.request("GET", "/").status == 404
    assert one.out.content() + one.err.content() == b""


# --- whoever reads the log


def read_available(pipe) -> bytes:
    """What is in a pipe now, without waiting."""
    data = b""
    while select.select([pipe], [], [], 0)[0]:
        part = os.read(pipe.fileno(), 1 << 20)
        if not part:
            break
        data += part
    return data


def test_logs_into_pipes(action):
    one = action(
        "import sys\ndef main():\n    print('out')\n    print('err', file=sys.stderr)\n    return {}\n",
        settings={"stdout": "pipe", "stderr": "pipe"},
    )
    one.result()
    assert read_available(one.process.stdout) == only(b"out\n")
    assert read_available(one.process.stderr) == only(b"err\n")


def test_reader_of_the_log_is_gone(action):
    """`pyaction | head` and the like: output is lost, activations are not."""
    one = action(
        "def main(event):\n    print('x' * event['n'])\n    return {'n': event['n']}\n",
        settings={"stdout": "pipe"},
    )
    one.result({"n": 1})
    one.process.stdout.close()
    for n in (1, 100_000, 2_000_000, 1):
        assert one.result({"n": n}) == {"n": n}
    assert one.err.markers() == 5


def test_reader_of_the_log_stalls_and_goes_on(action):
    """Nothing is lost, and the server answers others meanwhile."""
    one = action(
        "def main(event):\n"
        "    for n in range(20_000):\n        print(f'{n:05} ' + 'x' * 43)\n"
        "    return {'done': 1}\n",
        settings={"stdout": "pipe"},
    )
    pipe = one.process.stdout
    pending = one.background(one.run, {})
    wait_until(lambda: select.select([pipe], [], [], 0)[0], "output begins")
    assert one.request("GET", "/nowhere").status == 404
    expected = only(b"".join(b"%05d " % n + b"x" * 43 + b"\n" for n in range(20_000)))
    received = b""
    while len(received) < len(expected):
        assert select.select([pipe], [], [], 20)[0], "the rest of the log does not come"
        received += os.read(pipe.fileno(), 5000)
    assert received == expected
    assert pending.result().json == {"done": 1}


def test_non_blocking_stdout_loses_nothing(server):
    """Started by a program such as node, stdout may be a non-blocking pipe."""
    script = (
        "import os, sys; os.set_blocking(1, False); os.execv(sys.argv[1], sys.argv[1:])"
    )
    one = server(stdout="pipe", wrapper=["sh", "-c", '"$@"; exit $?', "sh", PYTHON, "-c", script])
    assert one.init("def main():\n    print('x' * 1_000_000)\n    return {'done': 1}\n").status == 200
    pending = one.background(one.run, {})
    received = b""
    while not received.endswith(MARKER):
        assert select.select([one.process.stdout], [], [], 20)[0], "the rest does not come"
        received += os.read(one.process.stdout.fileno(), 4096)
    assert received == only(b"x" * 1_000_000 + b"\n")
    assert pending.result().json == {"done": 1}


def test_stalled_reader_does_not_stop_the_stop(action):
    """SIGTERM meets a server that cannot get rid of its output."""
    one = action("def main():\n    print('x' * 3_000_000)\n    return {}\n", settings={"stdout": "pipe"})
    pending = one.background(_ignore_closing, one.run, {})
    wait_until(lambda: select.select([one.process.stdout], [], [], 0)[0], "output begins")
    one.signal(signal.SIGTERM)
    assert one.wait(STOP_SECONDS) == 0
    pending.result()


def _ignore_closing(call, *args):
    """A call whose connection the server may close without an answer."""
    try:
        return call(*args)
    except ConnectionError:
        return None


def test_stalled_stdout_does_not_hold_up_stderr(action):
    """The two streams have readers of their own."""
    one = action(
        "import sys, threading\n"
        "def main(event):\n"
        "    flood = threading.Thread(target=print, args=('x' * 2_000_000,))\n"
        "    flood.start()\n"
        "    print('meanwhile', file=sys.stderr)\n"
        "    flood.join()\n"
        "    return {'done': 1}\n",
        settings={"stdout": "pipe"},
    )
    pending = one.background(one.run, {})
    wait_until(lambda: one.err.content() == b"meanwhile\n", "stderr is written while stdout is stuck")
    received = b""
    while not received.endswith(MARKER):
        received += os.read(one.process.stdout.fileno(), 1 << 20)
    assert received == only(b"x" * 2_000_000 + b"\n")
    assert pending.result().json == {"done": 1}


def test_child_that_never_stops_printing(action):
    """An activation's end is a moment; what a child goes on to write belongs to what comes after."""
    one = action(
        "import subprocess\nchildren = []\n"
        "def main(event):\n"
        "    if event:\n        children.append(subprocess.Popen(['yes']))\n"
        "    return {'n': len(children)}\n",
        settings={"stdout": "/dev/null"},
    )
    assert one.result({"start": 1}) == {"n": 1}
    for _ in range(5):
        assert one.result({}) == {"n": 1}
    assert one.err.markers() == 6


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_stop_in_the_middle_of_a_flood(action, stream):
    one = action(
        "import sys\n"
        "def main(event):\n"
        f"    open(event['gate']).read()\n    while True:\n        print('x' * 1000, file=sys.{stream})\n",
        settings={stream: "/dev/null"},
    )
    gate = Gate(one.directory / "gate")
    pending = one.background(_ignore_closing, one.run, {"gate": gate.path})
    gate.wait_entered()
    gate.release()
    one.signal(signal.SIGTERM)
    assert one.wait(STOP_SECONDS) == 0
    pending.result()


def test_log_on_a_full_disk(action):
    one = action(
        "def main():\n    print('x' * 100_000)\n    return {'ok': 1}\n",
        settings={"stdout": "/dev/full"},
    )
    for _ in range(3):
        assert one.result() == {"ok": 1}
    assert one.err.markers() == 3


@pytest.mark.parametrize("closed", [">&- 2>&-", "<&- >&- 2>&-", "2>&-", "<&-"])
def test_standard_streams_closed_at_start(server, closed):
    """The numbers 1 and 2 must not be taken by a socket that then gets the log."""
    one = server(wrapper=["sh", "-c", f'exec "$@" {closed}', "sh"])
    assert one.init("def main():\n    print('x' * 10_000)\n    return {'ok': 1}\n").status == 200
    client = one.connect()
    for _ in range(3):
        assert one.run({}, client=client).json == {"ok": 1}


def test_log_into_a_terminal(server):
    """A person starts it by hand: lines arrive as they are printed."""
    master, slave = pty.openpty()
    try:
        one = server(stdout=os.ttyname(slave))
        assert one.init("def main():\n    print('hello')\n    return {}\n").status == 200
        assert one.run({}).status == 200
        data = b""
        while b"WHISK" not in data:
            assert select.select([master], [], [], 20)[0]
            data += os.read(master, 1000)
        assert data.startswith(b"hello\r\n")
    finally:
        os.close(master)
        os.close(slave)


def test_proxy_says_nothing_of_its_own(server):
    """A start, health checks and a stop leave the log empty."""
    one = server()
    for _ in range(3):
        one.connect().close()
    one.finish()
    assert one.out.content() + one.err.content() == b""


def test_python_warnings_and_unraisable_errors_go_to_stderr(action):
    code = (
        "import warnings\n"
        "class Bad:\n    def __del__(self):\n        raise ValueError('in del')\n"
        "def main():\n    warnings.warn('take care')\n    Bad()\n    return {}\n"
    )
    one = action(code)
    one.result()
    assert "UserWarning: take care" in one.err.text()
    assert "ValueError: in del" in one.err.text()
    assert one.out.content() == MARKER


def test_logging_set_up_at_import_keeps_working(action):
    code = (
        "import logging, sys\n"
        "logging.basicConfig(stream=sys.stdout, level=logging.INFO, format='%(levelname)s %(message)s')\n"
        "def main(event):\n    logging.info('run %d', event['n'])\n    return {}\n"
    )
    one = action(code)
    for n in range(3):
        one.result({"n": n})
    assert one.out.content() == only(b"INFO run 0\n", b"INFO run 1\n", b"INFO run 2\n")


def test_line_is_visible_while_the_run_goes_on(action, gate: Gate):
    """`docker logs -f` shows a line when it is printed, not when the run is over."""
    one = action(
        "def main(event):\n    print('half way', flush=True)\n    open(event['gate']).read()\n    return {}\n"
    )
    pending = one.background(one.run, {"gate": gate.path})
    gate.wait_entered()
    wait_until(lambda: one.out.content() == b"half way\n", "the line is in the log")
    gate.release()
    assert pending.result().status == 200


def test_children_inherit_unbuffered_order_too(action):
    """A Python child's block-buffered output follows what the parent printed before it."""
    one = action(
        "import subprocess\n"
        "def main():\n"
        "    print('before')\n"
        f"    subprocess.run([{PYTHON!r}, '-c', 'print(\"child\")'])\n"
        "    print('after')\n"
        "    return {}\n"
    )
    one.result()
    assert one.out.content() == only(b"before\nchild\nafter\n")
