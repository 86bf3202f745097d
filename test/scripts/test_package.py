"""scripts/package: a folder becomes what DigitalOcean's build makes of it."""

from __future__ import annotations

import os
import stat
import zipfile
from pathlib import Path
from typing import Callable, Dict, List, Optional, Tuple

import pytest
from pyaction_package import entry_files

from .harness import lines_of, run_script

MAIN = {"__main__.py": "def main():\n    return {}\n"}
Make = Callable[..., Path]


def shipped(folder: Path, *options: object) -> List[str]:
    """Package a folder and return the names in the zip."""
    out = folder.parent / "out.zip"
    done = run_script("package", folder, "-o", out, *options)
    assert done.returncode == 0, done.stderr.decode()
    assert lines_of(done.stdout) == [str(out)]
    with zipfile.ZipFile(out) as archive:
        assert archive.testzip() is None
        return archive.namelist()


def refusal(folder: Path, *options: object) -> str:
    """Package a folder that cannot be; return what standard error says."""
    out = folder.parent / "out.zip"
    done = run_script("package", folder, "-o", out, *options)
    assert done.returncode == 1
    assert done.stdout == b""
    assert not out.exists()
    assert b"Traceback" not in done.stderr
    return done.stderr.decode()


def test_all_files_ship_sorted(make_folder: Make) -> None:
    folder = make_folder({**MAIN, "b/c.txt": "", "a.txt": "", "b/a.txt": ""})
    (folder / "empty").mkdir()
    assert shipped(folder) == ["__main__.py", "a.txt", "b/a.txt", "b/c.txt"]


def test_what_never_ships(make_folder: Make) -> None:
    never = [
        ".gitignore", ".DS_Store", "sub/.gitignore", ".git/config", "old~",
        "sub/.git/HEAD", ".nimbella/x", ".deployed/x", "x_tmp_y", ".#lock",
        "a.swp", "sub/b.swx", "__deployer__.zip", "build.cmd",
    ]
    files = {name: "" for name in never}
    folder = make_folder({**MAIN, **files, "build.sh*": "", ".ignore": "", "kept": ""})
    assert shipped(folder) == ["__main__.py", "kept"]


def test_ignore_follows_gitignore(make_folder: Make) -> None:
    folder = make_folder(
        {
            **MAIN,
            ".ignore": "*.txt\n!keep.txt\n/top.md\ndocs/**/draft\n",
            "a.txt": "", "sub/keep.txt": "", "top.md": "", "sub/top.md": "",
            "docs/x/draft": "", "docs/final": "",
        }
    )
    expected = ["__main__.py", "docs/final", "sub/keep.txt", "sub/top.md"]
    assert shipped(folder) == expected


def test_ignore_cannot_take_back_what_never_ships(make_folder: Make) -> None:
    folder = make_folder({**MAIN, ".ignore": "!.ignore\n!old~\n", "old~": "", "a": ""})
    assert shipped(folder) == ["__main__.py", "a"]


def test_include_is_exact(make_folder: Make) -> None:
    folder = make_folder(
        {
            **MAIN,
            ".include": "lib/one.py\n./__main__.py\n\n  data/ \n",
            "data/x": "", "data/y/z": "", "data/old~": "", "lib/one.py": "",
            "lib/two.py": "", "unlisted": "",
        }
    )
    assert shipped(folder) == ["__main__.py", "data/x", "data/y/z", "lib/one.py"]


def test_include_of_the_project_library(make_folder: Make) -> None:
    folder = make_folder(
        {
            **MAIN,
            ".include": "__main__.py\n../../../lib/common\n../../../lib/one.py\n",
        },
        "packages/p/fn",
    )
    make_folder({"common/x.py": "", "common/deep/y.py": "", "one.py": ""}, "lib")
    names = ["__main__.py", "common/deep/y.py", "common/x.py", "one.py"]
    assert shipped(folder) == names


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("/etc/passwd", "/etc/passwd is absolute"),
        ("../secret", "../secret leaves the folder"),
        ("../../../library/x", "leaves the folder"),
        ("../../../lib/../secret", "leaves the folder"),
        ("data/../../secret", "leaves the folder"),
        ("missing.py", "missing.py does not exist"),
    ],
)
def test_include_of_the_wrong_place(make_folder: Make, line: str, says: str) -> None:
    folder = make_folder({**MAIN, ".include": f"__main__.py\n{line}\n"}, "packages/p/f")
    message = refusal(folder)
    assert says in message
    assert ".include" in message


def test_empty_include(make_folder: Make) -> None:
    assert ".include is empty" in refusal(make_folder({**MAIN, ".include": " \n"}))


def test_two_files_of_one_name(make_folder: Make) -> None:
    folder = make_folder(
        {**MAIN, ".include": "__main__.py\none.py\n../../../lib/one.py", "one.py": ""},
        "packages/p/fn",
    )
    make_folder({"one.py": ""}, "lib")
    assert "would both be one.py" in refusal(folder)


def test_include_and_ignore_together(make_folder: Make) -> None:
    folder = make_folder({**MAIN, ".include": "__main__.py", ".ignore": "", "a": ""})
    assert "both .include and .ignore" in refusal(folder)


def test_build_script_runs_in_the_folder_first(make_folder: Make) -> None:
    script = "#!/bin/sh\necho building\nmkdir made\npwd > made/where\n"
    folder = make_folder({**MAIN, "build.sh*": script, ".ignore": "__pycache__\n"})
    done = run_script("package", folder, "-o", folder.parent / "x.zip")
    assert done.returncode == 0
    assert lines_of(done.stderr)[0] == "building"
    assert (folder / "made/where").read_text().strip() == str(folder.resolve())
    (folder / "build.sh").write_text("exit 1")
    assert shipped(folder, "--no-build") == ["__main__.py", "made/where"]


def test_build_script_before_include(make_folder: Make) -> None:
    files = {**MAIN, "build.sh*": "echo x > made", ".include": "__main__.py\nmade"}
    assert shipped(make_folder(files)) == ["__main__.py", "made"]


def test_build_script_that_is_not_executable(make_folder: Make) -> None:
    folder = make_folder({**MAIN, "build.sh": "#!/bin/sh\n", "a": ""})
    message = refusal(folder)
    assert "build.sh is not executable: chmod +x" in message


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("exit 3", "build.sh ended with status 3"),
        ("kill -9 $$", "build.sh was killed by signal 9"),
        ("#!/nowhere/sh\n", "build.sh ended with status 12"),
    ],
)
def test_build_script_that_fails(make_folder: Make, script: str, says: str) -> None:
    assert says in refusal(make_folder({**MAIN, "build.sh*": script, "a": ""}))


def test_windows_build_script_alone(make_folder: Make) -> None:
    assert "no build.sh" in refusal(make_folder({**MAIN, "build.cmd": "", "a": ""}))


def test_modes_and_symlinks_are_kept(make_folder: Make) -> None:
    folder = make_folder(
        {
            **MAIN,
            "run*": "#!/bin/sh\n", "data/x": "x", "to_file": ["data/x"],
            "to_folder": ["data"], "dangling": ["/nowhere/x"], "self": ["."],
        }
    )
    out = folder.parent / "modes.zip"
    assert run_script("package", folder, "-o", out).returncode == 0
    with zipfile.ZipFile(out) as archive:
        modes = {i.filename: i.external_attr >> 16 for i in archive.infolist()}
        links = {
            name: archive.read(name).decode()
            for name, mode in modes.items()
            if stat.S_ISLNK(mode)
        }
    assert links == {
        "to_file": "data/x", "to_folder": "data",
        "dangling": "/nowhere/x", "self": ".",
    }
    assert modes["run"] == stat.S_IFREG | 0o755
    assert modes["data/x"] == stat.S_IFREG | 0o644
    assert "to_folder/x" not in modes


def test_symlink_to_a_folder_outside_is_followed(make_folder: Make) -> None:
    make_folder({"x.py": "", "deep/y.py": ""}, "shared")
    folder = make_folder({**MAIN, "shared": ["../shared"]})
    assert shipped(folder) == ["__main__.py", "shared/deep/y.py", "shared/x.py"]


def test_symlink_to_a_folder_around_it(make_folder: Make) -> None:
    folder = make_folder({**MAIN, "sub/up": ["../.."], "a": ""}, "outer/fn")
    assert "symlink to a folder it is in" in refusal(folder)


def test_special_file(make_folder: Make) -> None:
    folder = make_folder({**MAIN, "a": ""})
    os.mkfifo(folder / "pipe")
    assert "pipe is neither a file" in refusal(folder)


def test_name_that_is_not_utf8(make_folder: Make) -> None:
    folder = make_folder(MAIN)
    (folder / os.fsdecode(b"\xff.txt")).write_text("")
    assert "is not a UTF-8 file name" in refusal(folder)


def test_equal_files_make_equal_zips(make_folder: Make) -> None:
    files: Dict[str, object] = {**MAIN, "b.txt": "b", "sub/é.txt": "1" * 5000}
    zips = []
    for name, umask, order in (("one", 0o022, 1), ("two", 0o077, -1)):
        folder = make_folder(dict(list(files.items())[::order]), name)
        for path in folder.rglob("*.txt"):
            path.chmod(0o666 & ~umask)
            os.utime(path, (umask, umask))
        out = folder.parent / f"{name}.zip"
        assert run_script("package", folder, "-o", out).returncode == 0
        zips.append(out.read_bytes())
    assert zips[0] == zips[1]


def test_single_file_is_offered_as_it_is(make_folder: Make) -> None:
    folder = make_folder({"hello.py": "x = 1\n", ".ignore": "*.md", "README.md": ""})
    done = run_script("package", folder, cwd=folder.parent)
    assert done.returncode == 0
    assert lines_of(done.stdout) == [str(folder / "hello.py")]
    assert b"deploys it as it is, not in a zip" in done.stderr
    assert not (folder.parent / "fn.zip").exists()

    copy = folder.parent / "copy.py"
    assert run_script("package", folder, "-o", copy).returncode == 0
    assert copy.read_text() == "x = 1\n"
    assert "would be no zip" in refusal(folder)


def test_single_file_as_a_zip_if_asked_for(make_folder: Make) -> None:
    assert shipped(make_folder(MAIN), "--zip") == ["__main__.py"]


def test_single_file_that_is_a_zip(make_folder: Make) -> None:
    folder = make_folder(MAIN, "inner")
    assert shipped(folder, "--zip") == ["__main__.py"]
    outer = make_folder({}, "outer")
    (folder.parent / "out.zip").rename(outer / "ready.zip")
    assert shipped(outer) == ["__main__.py"]


@pytest.mark.parametrize(
    ("files", "handler", "wanted"),
    [
        (["hello.py", "other.py"], None, "__main__.py"),
        (["sub/__main__.py", "hello.py"], "greet", "__main__.py"),
        (["__main__.py", "hello.py"], "index.handler", "index.py"),
        (["__main__.py", "a/b.py"], "a.c.handler", "a/c.py"),
    ],
)
def test_file_with_the_handler_is_missing(
    make_folder: Make, files: List[str], handler: Optional[str], wanted: str
) -> None:
    folder = make_folder({name: "" for name in files})
    options = ["--main", handler] if handler else []
    message = refusal(folder, *options)
    assert f"none is {wanted}, where the runtime looks for" in message


@pytest.mark.parametrize(
    ("handler", "files"),
    [
        ("main", ("__main__.py", "exec")),
        ("index.handler", ("index.py", "index/__init__.py")),
        ("a.b.handler", ("a/b.py", "a/b/__init__.py")),
        ("a/b.handler", ("a/b.py", "a/b/__init__.py")),
    ],
)
def test_entry_files(handler: str, files: Tuple[str, str]) -> None:
    assert entry_files(handler) == files


def test_handler_in_a_package(make_folder: Make) -> None:
    folder = make_folder({"api/__init__.py": "", "api/tools.py": ""})
    expected = ["api/__init__.py", "api/tools.py"]
    assert shipped(folder, "--main", "api.handler") == expected
    done = run_script("package", folder, "-o", "-", "--main", "api.handler")
    assert b"has files in folders only, which DigitalOcean refuses" in done.stderr


def test_default_output_is_not_packaged_again(make_folder: Make) -> None:
    folder = make_folder({**MAIN, "a": ""})
    for _ in range(2):
        done = run_script("package", ".", cwd=folder)
        assert lines_of(done.stdout) == ["fn.zip"]
    with zipfile.ZipFile(folder / "fn.zip") as archive:
        assert archive.namelist() == ["__main__.py", "a"]


def test_standard_output(make_folder: Make) -> None:
    folder = make_folder({**MAIN, "a": ""})
    done = run_script("package", folder, "-o", "-")
    assert done.stdout.startswith(b"PK\x03\x04")
    assert done.stderr == b""
    assert shipped(folder) == ["__main__.py", "a"]
    assert (folder.parent / "out.zip").read_bytes() == done.stdout


@pytest.mark.parametrize(
    ("files", "warning"),
    [
        ({"requirements.txt": "x"}, "requirements.txt: DigitalOcean installs nothing"),
        ({"package.json": "{}"}, "package.json: DigitalOcean would run npm"),
    ],
)
def test_warnings(make_folder: Make, files: Dict[str, str], warning: str) -> None:
    folder = make_folder({**MAIN, **files})
    done = run_script("package", folder, "-o", folder.parent / "x.zip")
    assert done.returncode == 0
    assert f"warning: {folder}/{warning}" in done.stderr.decode()


def test_no_warning_about_requirements_with_a_virtualenv(make_folder: Make) -> None:
    folder = make_folder({**MAIN, "requirements.txt": "x", "virtualenv/x": ""})
    done = run_script("package", folder, "-o", folder.parent / "x.zip")
    assert b"warning" not in done.stderr


def test_more_code_than_the_platform_takes(make_folder: Make) -> None:
    folder = make_folder(MAIN)
    (folder / "random").write_bytes(os.urandom(48 * 1024 * 1024))
    done = run_script("package", folder, "-o", folder.parent / "x.zip")
    assert done.returncode == 0
    assert b"are more than DigitalOcean takes (50331648)" in done.stderr


@pytest.mark.parametrize(
    ("files", "says"), [({}, "no files"), ({".ignore": "*", "a.py": ""}, "no files")]
)
def test_nothing_to_deploy(make_folder: Make, files: Dict[str, str], says: str) -> None:
    assert says in refusal(make_folder(files))


def test_no_such_folder(tmp_path: Path) -> None:
    assert "nothing is not a folder" in refusal(tmp_path / "nothing")


def test_output_folder_is_missing(make_folder: Make) -> None:
    folder = make_folder({**MAIN, "a": ""})
    done = run_script("package", folder, "-o", folder / "no" / "x.zip")
    assert done.returncode == 1
    assert b"No such file or directory" in done.stderr
    assert b"Traceback" not in done.stderr


def test_usage() -> None:
    assert run_script("package").returncode == 2
    help_text = run_script("package", "--help").stdout
    assert b"exit status:" in help_text
