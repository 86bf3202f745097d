"""What the workflow files and .ci/run call is there to be called."""

from __future__ import annotations

import re
import subprocess
from typing import List, Tuple

import pytest
import yaml

from .harness import ROOT

CI = ROOT / ".ci" / "run"
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def commands() -> List[Tuple[str, str]]:
    """Where, and the text, of each step that runs a shell command; .ci/run as one."""
    found = [(".ci/run", CI.read_text(encoding="utf-8"))]
    for path in WORKFLOWS:
        for name, job in yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"].items():
            steps = [step["run"] for step in job["steps"] if "run" in step]
            found += [(f"{path.name}:{name}:{number}", text) for number, text in enumerate(steps)]
    return found


COMMANDS = commands()


@pytest.mark.parametrize("text", [text for _, text in COMMANDS], ids=[where for where, _ in COMMANDS])
def test_command(text: str) -> None:
    """The shell understands it, make has a rule for each target, and each script is an executable file."""
    shell = re.sub(r"\$\{\{.*?\}\}", "expression", text)
    checked = subprocess.run(["bash", "-n"], input=shell, stderr=subprocess.PIPE, universal_newlines=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")
    for target in re.findall(r"(?m)(?:^|[;&|] *)make +([a-z-]+)", shell):
        made = subprocess.run(["make", "-n", target], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                              universal_newlines=True, check=False)
        assert made.returncode == 0, made.stderr
    for script in re.findall(r"(?m)(?:^|[;&|] *)((?:\.ci|scripts)/\S+)", shell):
        assert (ROOT / script).stat().st_mode & 0o111, script


def test_every_submission_runs_what_ci_runs() -> None:
    """The first workflow is .ci/run itself; the others are the image's and those of the other releases of Debian."""
    assert ("ci.yml:checks:1", ".ci/run") in COMMANDS
    texts = [text for _, text in COMMANDS]
    assert "make test" in texts and "make fresh-test" in texts and "make image-test-all" in texts
    assert any(text.startswith("make image-test ") for text in texts)


def test_tag_of_a_release_is_the_version() -> None:
    """The command with which the workflow reads the version gives what the built program says."""
    text = next(text for where, text in COMMANDS if "GITHUB_REF_NAME#" not in text and "GITHUB_REF_NAME\" =" in text)
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    version = re.search(r"(?m)^VERSION := (\S+)$", makefile)
    assert version is not None
    for tag, status in ((f"v{version.group(1)}", 0), ("v9.9.9", 1)):
        ran = subprocess.run(["sh", "-c", text], cwd=ROOT, env={"GITHUB_REF_NAME": tag, "PATH": "/usr/bin:/bin"},
                             check=False)
        assert ran.returncode == status
