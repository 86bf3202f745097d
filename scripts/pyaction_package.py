"""Turn the folder of a function into what DigitalOcean's build makes of it.

The rules are those of the platform's build process reference and of its
deployer (digitalocean/functions-deployer, `finder-builder.ts`):

1. `build.sh` runs in the folder.
2. With an `.include`, exactly what its lines name is taken.
3. Otherwise every file is, less what `.ignore` excludes and less the files
   that are never taken (`NEVER_TAKEN`, `NOT_SHIPPED`).
4. One file that is left is deployed as it is; more become a zip.
"""

from __future__ import annotations

import io
import os
import posixpath
import shutil
import stat
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple

from pyaction_ignore import IgnoreRules

# What the platform never deploys, as gitignore patterns.
NEVER_TAKEN = (
    ".gitignore",
    ".DS_Store",
    "**/.git/**",
    "*.nimbella*",
    "*.deployed*",
    "*_tmp_*",
    "*.#*",
    "*~",
    "*.swp",
    "*.swx",
)
# What only steers the build. It ships if an `.include` names it.
NOT_SHIPPED = (".ignore", "build.sh", "build.cmd", "__deployer__.zip")
# `.source` is the platform's older name for the same file.
INCLUDE_FILES = (".include", ".source")
# An `.include` may reach out of its folder only to `lib` in the project root,
# which is three levels up from packages/<package>/<function>.
PROJECT_LIB = "../../../lib"
# DigitalOcean's limit for built code, in bytes.
MAX_CODE_BYTES = 48 * 1024 * 1024
# The earliest time that a zip can hold, so that equal files make equal zips.
ZIP_TIME = (1980, 1, 1, 0, 0, 0)

Warn = Callable[[str], None]


class PackageError(Exception):
    """The folder cannot become a function; the text says why and what to do."""


class Member(NamedTuple):
    """One file to ship: its name in the zip, and where it is."""

    name: str
    path: Path


class Package(NamedTuple):
    """The built function.

    `source` is the one file that was left, in which case `code` is its bytes,
    unless it is a zip already; otherwise it is None and `code` is a zip.
    """

    code: bytes
    source: Optional[Path]
    names: Tuple[str, ...]

    @property
    def is_zip(self) -> bool:
        return self.source is None or self.source.suffix == ".zip"


def build_package(
    folder: Path,
    handler: str = "main",
    *,
    run_build: bool = True,
    always_zip: bool = False,
    leave_out: Optional[Path] = None,
    warn: Warn = lambda text: None,
) -> Package:
    """Build the folder of a function.

    Args:
        folder: the folder with the function's files.
        handler: the function to call, as `main` of a project file names it;
            it decides which file a zip must have.
        run_build: False leaves out `build.sh` and takes the files as they are.
        always_zip: make a zip of a single file too.
        leave_out: a file that is not taken even if it is in the folder, for
            the output of an earlier build.
        warn: is called with each warning.

    Raises:
        PackageError: for everything that keeps the folder from being a
            function.
    """
    if not folder.is_dir():
        raise PackageError(f"{folder} is not a folder")
    _check_special_files(folder, warn)
    if run_build and (folder / "build.sh").is_file():
        _run_build_script(folder)
    members = [
        member
        for member in _members(folder)
        if leave_out is None or not _same_entry(member.path, leave_out)
    ]
    if not members:
        raise PackageError(f"{folder} has no files to deploy")
    names = tuple(member.name for member in members)
    if len(members) == 1 and not always_zip:
        source = members[0].path
        package = Package(source.read_bytes(), source, names)
    else:
        _check_entry_file(folder, names, handler)
        package = Package(_make_zip(members), None, names)
    _warn_about(folder, package, warn)
    return package


def _check_special_files(folder: Path, warn: Warn) -> None:
    """Refuse what the deployer refuses before it builds."""
    includes = [name for name in INCLUDE_FILES if (folder / name).is_file()]
    if includes and (folder / ".ignore").is_file():
        raise PackageError(
            f"{folder} has both {includes[0]} and .ignore: keep one of them"
        )
    build_script = folder / "build.sh"
    if build_script.is_file():
        if not os.access(build_script, os.X_OK):
            raise PackageError(
                f"{build_script} is not executable: chmod +x {build_script}"
            )
    elif (folder / "build.cmd").is_file():
        raise PackageError(
            f"{folder} has a build.cmd, which runs on Windows only, "
            "and no build.sh"
        )
    elif (folder / "package.json").is_file():
        warn(
            f"{folder}/package.json: DigitalOcean would run npm here; "
            "this build does not"
        )


def _run_build_script(folder: Path) -> None:
    """Run `./build.sh` in the folder, its output on our standard error.

    The deployer starts it through a shell, so that a script without a `#!`
    line runs too.
    """
    shell = shutil.which("bash") or "/bin/sh"
    sys.stderr.flush()
    ended = subprocess.run(
        [shell, "-c", "./build.sh"],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=2,
        check=False,
    )
    if ended.returncode < 0:
        how = f"was killed by signal {-ended.returncode}"
    else:
        how = f"ended with status {ended.returncode}"
    if ended.returncode != 0:
        raise PackageError(f"{folder / 'build.sh'} {how}")


def _members(folder: Path) -> List[Member]:
    """Return what ships, sorted by name."""
    for name in INCLUDE_FILES:
        if (folder / name).is_file():
            found = _included(folder, _read_lines(folder / name), name)
            break
    else:
        found = _not_ignored(folder)
    members: Dict[str, Member] = {}
    for member in found:
        known = members.setdefault(member.name, member)
        if not _same_entry(known.path, member.path):
            raise PackageError(
                f"{known.path} and {member.path} would both be {member.name}"
            )
    return [members[name] for name in sorted(members)]


def _read_lines(path: Path) -> List[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise PackageError(f"{path} is not UTF-8: {error}") from None


def _not_ignored(folder: Path) -> Iterator[Member]:
    lines: List[str] = []
    if (folder / ".ignore").is_file():
        lines = _read_lines(folder / ".ignore")
    # Last, so that no line of the user can take one of them back in.
    rules = IgnoreRules([*lines, *NEVER_TAKEN, *NOT_SHIPPED])
    return _walk(folder, "", rules, folder.resolve())


def _included(
    folder: Path, lines: List[str], listed_in: str
) -> Iterator[Member]:
    items = [line.strip() for line in lines if line.strip()]
    if not items:
        raise PackageError(f"{folder / listed_in} is empty")
    never = IgnoreRules(NEVER_TAKEN)
    for item in items:
        path = folder / item
        name = _included_name(item, folder / listed_in)
        if not os.path.lexists(path):
            raise PackageError(f"{folder / listed_in}: {item} does not exist")
        if not path.is_dir():
            yield Member(_zip_name(name), path)
        else:
            inside = ".." not in item.split("/")
            root = (folder if inside else path).resolve()
            yield from _walk(path, name, never, root)


def _included_name(item: str, listed_in: Path) -> str:
    """Check a line of an `.include` and return the name it gets in the zip."""
    if item.startswith("/"):
        raise PackageError(
            f"{listed_in}: {item} is absolute; name it from the folder"
        )
    path = posixpath.normpath(item)
    if ".." not in item.split("/"):
        return "" if path == "." else path
    if not (path + "/").startswith(PROJECT_LIB + "/"):
        raise PackageError(
            f"{listed_in}: {item} leaves the folder; "
            f"only {PROJECT_LIB} in the project root can be reached"
        )
    return posixpath.basename(path)


def _walk(
    directory: Path,
    prefix: str,
    rules: IgnoreRules,
    root: Path,
    above: Tuple[Path, ...] = (),
) -> Iterator[Member]:
    """List the files below a directory that the rules do not exclude.

    A symlink to a file, to nowhere, or to a directory within `root` stays a
    symlink. One to a directory elsewhere is followed, as the deployer does:
    nothing would be at the other end of it in the container.

    Args:
        directory: where to look.
        prefix: the name of the directory in the zip, "" at the top.
        rules: see the names in the zip.
        root: the resolved folder of the function.
        above: the resolved directories on the way, to see a loop of symlinks.
    """
    resolved = directory.resolve()
    if resolved in above:
        raise PackageError(f"{directory} is a symlink to a folder it is in")
    for path in directory.iterdir():
        name = _zip_name(posixpath.join(prefix, path.name))
        if _descends(path, root):
            if not rules.ignores(name, True):
                yield from _walk(path, name, rules, root, (*above, resolved))
        elif not rules.ignores(name):
            yield Member(name, path)


def _descends(path: Path, root: Path) -> bool:
    """Tell whether to list what is in the path instead of the path."""
    if not path.is_dir():
        return False
    target = path.resolve()
    return not path.is_symlink() or root not in (target, *target.parents)


def _zip_name(name: str) -> str:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        raise PackageError(
            f"{os.fsencode(name)!r} is not a UTF-8 file name"
        ) from None
    return name


def _same_entry(one: Path, other: Path) -> bool:
    """Tell whether two paths are one directory entry, symlinks not followed."""
    return one.name == other.name and one.parent.resolve() == other.parent.resolve()


def _check_entry_file(folder: Path, names: Tuple[str, ...], handler: str) -> None:
    """Check that a zip has the file with the handler, which the runtime needs."""
    wanted = entry_files(handler)
    if not any(name in names for name in wanted):
        raise PackageError(
            f"{folder} ships {len(names)} files, but none is {wanted[0]}, where "
            f"the runtime looks for {handler}: rename the file with the handler"
            " to it, or name the handler as module.function"
        )


def entry_files(handler: str) -> Tuple[str, ...]:
    """Return the names of which a zip must have one, the usual one first.

    Args:
        handler: `function`, or `module.function` with any number of packages
            before it, separated by `.` or `/`.
    """
    module = handler.rpartition(".")[0].replace(".", "/")
    if not module:
        # `exec` is the entry file of a zip that was built by a runtime.
        return ("__main__.py", "exec")
    return (f"{module}.py", f"{module}/__init__.py")


def _make_zip(members: List[Member]) -> bytes:
    """Return a zip that depends on names, contents and executable bits only."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for member in members:
            mode, content = _mode_and_content(member.path)
            info = zipfile.ZipInfo(member.name, ZIP_TIME)
            info.create_system = 3  # Unix: the upper half is the file mode
            info.external_attr = mode << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return buffer.getvalue()


def _mode_and_content(path: Path) -> Tuple[int, bytes]:
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        return stat.S_IFLNK | 0o777, os.fsencode(os.readlink(path))
    if not stat.S_ISREG(mode):
        raise PackageError(f"{path} is neither a file, a folder nor a symlink")
    permissions = 0o755 if mode & stat.S_IXUSR else 0o644
    return stat.S_IFREG | permissions, path.read_bytes()


def _warn_about(folder: Path, package: Package, warn: Warn) -> None:
    """Tell what deploys, but will not run on the platform as it may be meant."""
    if len(package.code) > MAX_CODE_BYTES:
        warn(
            f"{folder}: {len(package.code)} bytes of built code are more than "
            f"DigitalOcean takes ({MAX_CODE_BYTES})"
        )
    if not any(p.is_file() for p in folder.iterdir() if p.name != ".ignore"):
        warn(f"{folder} has files in folders only, which DigitalOcean refuses")
    has_virtualenv = any(n.startswith("virtualenv/") for n in package.names)
    if "requirements.txt" in package.names and not has_virtualenv:
        warn(
            f"{folder}/requirements.txt: DigitalOcean installs nothing from it;"
            " add a build.sh that makes a virtualenv folder"
        )
