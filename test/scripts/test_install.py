"""What `make install` puts somewhere works there, without the folder it was built in."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from .harness import ROOT, ActionServer, own_environment, run_script


def test_installed_programs_find_each_other(tmp_path: Path) -> None:
    binary = os.environ.get("PYACTION_BIN", "build/pyaction")
    subprocess.run(
        ["make", "install", f"BUILD={Path(binary).parent}", "PREFIX=/usr", f"DESTDIR={tmp_path / 'root'}"],
        cwd=ROOT, env=own_environment(), check=True, capture_output=True, timeout=300,
    )
    installed = tmp_path / "root" / "usr"
    files = sorted(str(path.relative_to(installed)) for path in installed.rglob("*") if path.is_file())
    programs = ["pycompile", "pyprecompile", "pyrunner", "pyunpack", "pyuntar"]
    assert files == ["bin/pyaction", *(f"libexec/pyaction/{name}" for name in programs)]
    modes = {name: (installed / name).stat().st_mode & 0o7777 for name in files}
    assert modes == {name: 0o711 if name.endswith("pyrunner") else 0o755 for name in files}, "SECURITY.md"

    server = ActionServer(tmp_path, binary=installed / "bin" / "pyaction")
    try:
        done = run_script("invoke", "--url", server.url, "test/functions/include_file")
        assert done.returncode == 0, done.stderr
        assert b"Hello, World!" in done.stdout
    finally:
        assert server.stop() == 0, server.console
