"""Run the scripts and the server that the tests are about."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Dict, List, Optional, Sequence

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "scripts"
FUNCTIONS = ROOT / "test" / "functions"

sys.path.insert(0, str(SCRIPTS))

# A server has to be up, or down after SIGTERM, within this many seconds. It is
# generous because sanitizers and busy machines are slow; nothing waits longer
# than it has to.
PATIENCE = 20.0


def own_environment() -> Dict[str, str]:
    """The environment, without the variables that pyaction and invoke read."""
    return {k: v for k, v in os.environ.items() if not k.startswith("PYACTION_")}


def run_script(
    name: str,
    *arguments: object,
    stdin: str = "",
    env: Optional[Dict[str, str]] = None,
    cwd: Path = ROOT,
) -> "subprocess.CompletedProcess[bytes]":
    """Run a script of the project and return how it ended and what it wrote.

    It runs with the Python that runs the tests.

    Args:
        name: the script, in `scripts`.
        arguments: its arguments, of any type that has a text.
        stdin: what it can read.
        env: variables to add to the environment.
        cwd: the directory that it runs in.
    """
    environ = {**own_environment(), "PYTHONDONTWRITEBYTECODE": "1", **(env or {})}
    command = [sys.executable, str(SCRIPTS / name), *map(str, arguments)]
    return subprocess.run(
        command,
        input=stdin.encode(),
        capture_output=True,
        env=environ,
        cwd=cwd,
        timeout=120,
        check=False,
    )


class ActionServer:
    """A running build/pyaction, or another binary, whose output goes to a file."""

    def __init__(self, directory: Path, binary: Optional[Path] = None, arguments: Sequence[str] = ()) -> None:
        binary = binary or Path(os.environ.get("PYACTION_BIN", ROOT / "build" / "pyaction"))
        assert os.path.isfile(binary), f"{binary} is missing: run make first"
        self.work = directory / "work"
        self.work.mkdir()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.console_file = directory / "console"
        with self.console_file.open("wb") as console:
            self.process = subprocess.Popen(
                [os.path.abspath(binary), "--host=127.0.0.1", f"--port={self.port}", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                env={**own_environment(), "TMPDIR": str(self.work)},
                start_new_session=True,
            )
        self._wait_until_up()

    def _wait_until_up(self) -> None:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            assert self.process.poll() is None, f"ended at once: {self.console}"
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except ConnectionRefusedError:
                time.sleep(0.01)
        self.process.kill()
        raise AssertionError(f"not up in {PATIENCE} s: {self.console}")

    @property
    def console(self) -> str:
        """What the function and the server have written so far."""
        return self.console_file.read_text(encoding="utf-8", errors="replace")

    def stop(self) -> int:
        """Send SIGTERM and return the exit status."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise

    def leftovers(self) -> List[str]:
        """After the end, return what should have gone with the server."""
        found = [str(path) for path in self.work.iterdir()]
        try:
            os.killpg(self.process.pid, 0)
        except ProcessLookupError:
            return found
        return [*found, f"a process in group {self.process.pid}"]


def lines_of(output: bytes) -> List[str]:
    return output.decode().splitlines()
