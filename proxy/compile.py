#!/usr/bin/python3 -IS
"""pycompile MAIN < CODE > ZIP: makes of a function an archive whose cold start installs and compiles nothing.

What `pyaction -compile MAIN` runs, the counterpart of Apache OpenWhisk's `-compile`. CODE is what `/init` takes: a zip
or tar.gz archive, or Python source; MAIN is its handler. requirements.txt is installed into virtualenv/, every module
gets its bytecode, and the programs that the ActionLoop proxy of OpenWhisk's own Python image starts are put beside
them, so that the archive runs there as well. All but the archive goes to stderr. Exit status 1: CODE cannot be made to
work, 2: the command line is wrong.

The archive is hostile: pyunpack and pyuntar unpack it, and its modules are compiled, never imported, in a process of
their own. pip does run code of the packages that requirements.txt names, as it does everywhere.
"""

from __future__ import annotations

import ast
import contextlib
import glob
import importlib.util
import marshal
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import traceback
import types
import warnings
import zipfile
from typing import Any, BinaryIO, Dict, Iterator, List, NamedTuple, NoReturn, Optional, Set, TextIO, Tuple, Type, Union

# As in limits.h: the largest body that /init can be given, and what it unpacks.
INPUT_MAX = 1 << 30
BYTES_MAX = 1 << 30
ENTRIES_MAX = 200_000
# The platforms' limit for code (OpenWhisk, docs/reference.md; DigitalOcean's is the same).
CODE_MAX = 48 << 20

# Where distributions keep the pip that virtual environments are made with (Debian: python3-pip-whl).
PIP_WHEELS = "/usr/share/python-wheels/pip-*.whl"

MAIN_FILE = "__main__.py"
# The names that OpenWhisk's own compiler uses; pyrunner/pyaction_bootstrap/loader.py knows them.
COMPILED_FILE = "main__.py"
EXEC_FILE = "exec"
LAUNCHER_FILE = "exec__.py"
VIRTUALENV = "virtualenv"
PYTHON = f"python{sys.version_info[0]}.{sys.version_info[1]}"
# The bytecode of all modules: pyrunner/pyaction_bootstrap/bytecode.py reads it.
BYTECODE_FILE = f".pyaction-bytecode.{sys.implementation.cache_tag}"
_BYTECODE_HEADER = 12

# The comment of the archive, its last bytes: function.c starts no process then to compile beside the import.
MARK = b"pyaction: compiled"

# The same files make the same archive, whenever it is made: the earliest time that a zip can hold.
ZIP_TIME = (1980, 1, 1, 0, 0, 0)
_COPY_SIZE = 1 << 16
_SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT}

# The program that the ActionLoop proxy starts, with what the archive has been compiled for beside it in exec.env.
_EXEC = """\
#!/bin/sh
cd "${0%/*}" && exec python3 exec__.py
"""

# It reads activations from stdin and answers on descriptor 3 (Apache OpenWhisk, docs/ACTION.md of its Go runtime). The
# import line is what loader.py reads the handler from.
_LAUNCHER = '''\
"""Serves the function beside it to OpenWhisk's ActionLoop proxy. Made by pyaction -compile; pyaction needs it not."""
import importlib.util
import json
import os
import sys
import traceback

requests = os.fdopen(os.dup(0), "rb")
replies = os.fdopen(os.dup(3), "wb")
os.set_inheritable(3, False)
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
activate = os.path.abspath("virtualenv/bin/activate_this.py")
if os.path.isfile(activate):
    with open(activate, "rb") as file:
        exec(compile(file.read(), activate, "exec"), {"__file__": activate, "__name__": "__main__"})
if os.path.isfile("__main__.py"):
    spec = importlib.util.spec_from_file_location("main__", os.path.abspath("__main__.py"))
    sys.modules["main__"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules["main__"])
from MODULE import FUNCTION as main


def reply(value):
    replies.write(json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\\n")
    replies.flush()


if os.environ.get("__OW_WAIT_FOR_ACK"):
    reply({"ok": True})
for line in requests:
    try:
        message = json.loads(line)
        event = message.pop("value", {})
        for key, value in message.items():
            os.environ["__OW_" + key.upper()] = value if isinstance(value, str) else json.dumps(value)
        result = main(event)
        sys.stdout.flush()
        reply({} if result is None else result)
    except Exception as error:
        traceback.print_exc()
        sys.stderr.flush()
        reply({"error": str(error)})
'''

# What both proxies run of a virtual environment; it works wherever it is unpacked.
_ACTIVATE = '''\
"""Makes the packages of this environment importable in the interpreter that executes this file."""
import os
import site
import sys

base = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
before = list(sys.path)
site.addsitedir(os.path.join(base, "lib", "PYTHON", "site-packages"))
sys.path[:] = [path for path in sys.path if path not in before] + before
os.environ["VIRTUAL_ENV"] = base
os.environ["PATH"] = os.pathsep.join([os.path.join(base, "bin"), os.environ.get("PATH", os.defpath)])
'''


class Failed(Exception):
    """Why there is no archive: a sentence, or "" when it stands on stderr already."""


class Handler(NamedTuple):
    """A handler: its module, "" for that of the main file, and its function."""

    module: str
    function: str


def split_handler(handler: str) -> Handler:
    """The same rule as in loader.py: "main", "pkg/mod.fn" and "pkg.mod.fn". Raises Failed."""
    module, _, function = handler.rpartition(".")
    module = module.replace("/", ".")
    if module in ("__main__", "main__"):
        module = ""
    if not function.isidentifier() or not all(part.isidentifier() for part in module.split(".") if module):
        raise Failed(f"the handler {handler!r} is not valid: a function name, or module.function")
    return Handler(module, function)


# --- processes and files of its own -------------------------------------------------------------------------


def _end(number: int, frame: Optional[types.FrameType]) -> NoReturn:
    """Signal handler: ends the program by way of everything that cleans up."""
    sys.exit(128 + number)


@contextlib.contextmanager
def temporary_directory() -> Iterator[str]:
    """A directory that is removed at the end, also when a signal brings it about."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    directory = tempfile.mkdtemp(prefix="pyaction-compile-")
    try:
        for number in _SIGNALS:
            signal.signal(number, _end)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        yield directory
    finally:
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        # Not shutil.rmtree(): the tree may be deeper than it can go.
        subprocess.run(["rm", "-rf", "--", directory], check=False)


def run(command: List[str], **options: Any) -> Tuple[int, bytes]:
    """The exit status, negative for a signal, and the output (with stdout=PIPE) of a command. When this process is
    told to end meanwhile, all that the command started is killed first. options: those of subprocess.Popen."""
    with subprocess.Popen(command, start_new_session=True, **options) as process:
        try:
            output, _ = process.communicate()
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return process.returncode, output or b""


def beside(name: str) -> str:
    """The path of a program that is installed with this one."""
    return os.path.join(os.path.dirname(os.path.realpath(__file__)), name)


def walk(root: str) -> Iterator[os.DirEntry[str]]:
    """Everything below a directory, in an order that only its names decide; links are not followed. Raises OSError for
    what cannot be read, as for a path that is too long for the system."""
    waiting = [root]
    while waiting:
        for entry in sorted(os.scandir(waiting.pop()), key=lambda entry: entry.name):
            yield entry
            if entry.is_dir(follow_symlinks=False):
                waiting.append(entry.path)


def is_program(path: str) -> bool:
    """Whether a file is an executable in the sense of OpenWhisk's proxy, and no Python source, as in loader.py."""
    with open(path, "rb") as file:
        start = file.readline(256)
    return start.startswith(b"\x7fELF") or (start.startswith(b"#!") and b"python" not in start)


# --- what goes in -------------------------------------------------------------------------------------------


def read_code(source: BinaryIO, file: BinaryIO) -> bytes:
    """Copies the code to a file; returns its first bytes. Raises Failed when there is none, or too much."""
    start = b""
    left = INPUT_MAX
    for data in iter(lambda: source.read(_COPY_SIZE), b""):
        left -= len(data)
        if left < 0:
            raise Failed(f"the code on stdin is larger than {INPUT_MAX} bytes")
        start = start or data[:2]
        file.write(data)
    file.flush()
    if not start:
        raise Failed("there is no code on stdin")
    return start


def unpack(unpacker: str, archive: BinaryIO, root: str) -> None:
    """Unpacks an archive, with the limits and promises of the server's own unpackers. Raises Failed."""
    archive.seek(0)
    status, output = run([beside(unpacker), root], stdin=archive, stdout=subprocess.PIPE)
    if status != 0:
        text = output.decode("utf-8", "replace").strip()
        raise Failed(text or f"{unpacker} ended with status {status}")


def save_source(code: BinaryIO, root: str, handler: Handler) -> None:
    """Puts source where the module of the handler is looked for."""
    path = os.path.join(root, *handler.module.split(".")) + ".py" if handler.module else os.path.join(root, MAIN_FILE)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    code.seek(0)
    with open(path, "wb") as file:
        shutil.copyfileobj(code, file)


def take_code(source: BinaryIO, work: str, root: str, handler: Handler) -> None:
    """Brings the code that can be read from source to the directory root. work: where more files may be made."""
    with open(os.path.join(work, "code"), "w+b") as file:
        start = read_code(source, file)
        if start == b"PK":
            unpack("pyunpack", file, root)
        elif start == b"\x1f\x8b":
            unpack("pyuntar", file, root)
        else:
            save_source(file, root, handler)
    os.unlink(os.path.join(work, "code"))


def find_main(root: str, handler: Handler) -> Optional[str]:
    """The file of the handler's module; None for an archive that is a program. Source that is called exec gets the
    name of the main file. Raises Failed when there is none."""
    exec_path = os.path.join(root, EXEC_FILE)
    if handler.module:
        folders = [root, os.path.join(root, VIRTUALENV, "lib", PYTHON, "site-packages")]
        path = find_module(folders, handler.module)
        if path is not None:
            return path
        wanted = handler.module.replace(".", "/") + ".py"
    else:
        for name in (MAIN_FILE, COMPILED_FILE):
            if os.path.isfile(os.path.join(root, name)):
                return os.path.join(root, name)
        if os.path.isfile(exec_path) and not is_program(exec_path):
            os.rename(exec_path, os.path.join(root, MAIN_FILE))
            return os.path.join(root, MAIN_FILE)
        wanted = MAIN_FILE
    if os.path.isfile(exec_path) and is_program(exec_path):
        return None
    raise Failed(f"Zip file does not include '{wanted}'")


# --- packages -----------------------------------------------------------------------------------------------


def find_pip() -> List[str]:
    """The command that is pip for this Python. Raises Failed."""
    status, _ = run([sys.executable, "-I", "-c", "import pip"], stderr=subprocess.DEVNULL)
    if status == 0:
        return [sys.executable, "-I", "-m", "pip"]
    wheels = sorted(glob.glob(PIP_WHEELS))
    if not wheels:
        raise Failed(f"requirements.txt cannot be installed: there is no pip for {sys.executable}, and no {PIP_WHEELS}")
    return [sys.executable, "-I", os.path.join(wheels[-1], "pip")]


def install_requirements(root: str, work: str) -> None:
    """Makes root/virtualenv of root/requirements.txt, unless one is there. Raises Failed.

    work: a directory for what pip leaves behind when it is killed.
    """
    folder = os.path.join(root, VIRTUALENV)
    packages = os.path.join(folder, "lib", PYTHON, "site-packages")
    if os.path.lexists(folder):
        if not os.path.isfile(os.path.join(folder, "bin", "activate_this.py")) and not os.path.isdir(packages):
            raise Failed(f"Invalid virtualenv. Zip file does not include {VIRTUALENV}/bin/activate_this.py or "
                         f"{VIRTUALENV}/lib/{PYTHON}/site-packages")
        return
    if not os.path.isfile(os.path.join(root, "requirements.txt")):
        return
    os.makedirs(packages)
    command = [*find_pip(), "install", "--no-input", "--disable-pip-version-check", "--no-warn-script-location",
               "--no-compile", "--target", packages, "--requirement", "requirements.txt"]
    environment = {**os.environ, "TMPDIR": work, "PIP_ROOT_USER_ACTION": "ignore"}
    status, _ = run(command, cwd=root, stdin=subprocess.DEVNULL, stdout=sys.stderr, env=environment)
    if status != 0:
        raise Failed(f"pip could not install requirements.txt (exit status {status})")
    _make_environment(folder, packages)


def _make_environment(folder: str, packages: str) -> None:
    """What is a virtual environment's besides its packages: for activate_this.py, and for programs of the packages
    that the function starts. It works in any place, and does no harm where this Python is not."""
    binaries = os.path.join(folder, "bin")
    if os.path.isdir(os.path.join(packages, "bin")):
        os.rename(os.path.join(packages, "bin"), binaries)
    os.makedirs(binaries, exist_ok=True)
    for entry in os.scandir(binaries):
        if entry.is_file(follow_symlinks=False):
            _free_of_place(entry.path)
    os.symlink(sys.executable, os.path.join(binaries, "python3"))
    _write(os.path.join(folder, "pyvenv.cfg"), f"home = {os.path.dirname(sys.executable)}\n")
    _write(os.path.join(binaries, "activate_this.py"), _ACTIVATE.replace("PYTHON", PYTHON))


def _free_of_place(path: str) -> None:
    """Lets a script be started with the environment's Python, not with the one that pip wrote into its first line."""
    with open(path, "rb") as file:
        content = file.read()
    first, newline, rest = content.partition(b"\n")
    if first == b"#!" + os.fsencode(sys.executable):
        with open(path, "wb") as file:
            file.write(b"#!/usr/bin/env python3" + newline + rest)


def _write(path: str, text: str, mode: int = 0o644) -> None:
    """Makes a file, in the place of whatever has its name but a directory."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    with open(path, "x", encoding="utf-8") as file:
        file.write(text)
    os.chmod(path, mode)


# --- bytecode -----------------------------------------------------------------------------------------------


def find_module(folders: List[str], name: str) -> Optional[str]:
    """The source of a module, which is looked for in these folders, or None."""
    for folder in folders:
        base = os.path.join(folder, *name.split("."))
        for path in (os.path.join(base, "__init__.py"), base + ".py"):
            if os.path.isfile(path):
                return path
    return None


def _unconditional(node: ast.AST) -> Iterator[Union[ast.Import, ast.ImportFrom]]:
    """The import statements that are under no condition and in no try."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.Import, ast.ImportFrom)):
            yield child
        elif isinstance(child, ast.stmt) and not isinstance(child, ast.If) and not hasattr(child, "handlers"):
            yield from _unconditional(child)


def _names(statement: Union[ast.Import, ast.ImportFrom], package: str) -> Iterator[str]:
    """The modules that a statement in a module of this package may import."""
    if isinstance(statement, ast.Import):
        yield from (alias.name for alias in statement.names)
        return
    parents = package.split(".")[: len(package.split(".")) - statement.level + 1] if statement.level else []
    base = ".".join([part for part in parents if part] + ([statement.module] if statement.module else []))
    if base:
        yield base
    yield from (f"{base}.{alias.name}" if base else alias.name for alias in statement.names)


def imported(folders: List[str], main: str, module: str) -> Set[str]:
    """The files that a function certainly imports: those that import statements name, from that of its handler on.

    folders: where modules are looked for. main, module: the file of the handler's module, and its name, "" for the
    main file's.
    """
    found: Set[str] = set()
    waiting: List[Tuple[str, str]] = [(module, main)]
    while waiting:
        name, path = waiting.pop()
        if path in found:
            continue
        found.add(path)
        package = name if path.endswith("__init__.py") else name.rpartition(".")[0]
        try:
            with open(path, "rb") as file:
                tree = ast.parse(file.read())
        except (SyntaxError, ValueError, RecursionError, MemoryError, OSError):
            continue
        for statement in _unconditional(tree):
            for wanted in _names(statement, package):
                parts = wanted.split(".")
                for count in range(1, len(parts) + 1):
                    prefix = ".".join(parts[:count])
                    file_of_it = find_module(folders, prefix)
                    if file_of_it is not None:
                        waiting.append((prefix, file_of_it))
    return found


class Bytecode:
    """The file with the bytecode of all modules below a directory; pyrunner/pyaction_bootstrap/bytecode.py has its
    form. A context manager, at whose end the file is complete, or gone if there are none."""

    def __init__(self, root: str) -> None:
        """Makes the file, in the place of whatever has its name but a directory. Raises Failed."""
        self._root = root
        self._places: Dict[str, Tuple[int, int]] = {}
        path = os.path.join(root, BYTECODE_FILE)
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            self._file = open(path, "xb")
        except OSError as error:
            raise Failed(f"cannot write '{BYTECODE_FILE}': {error.strerror}") from None
        self._file.write(bytes(_BYTECODE_HEADER))

    def __enter__(self) -> Bytecode:
        return self

    def __exit__(self, *_: object) -> None:
        with self._file as file:
            place = file.tell()
            file.write(marshal.dumps(self._places))
            file.seek(0)
            file.write(importlib.util.MAGIC_NUMBER + place.to_bytes(_BYTECODE_HEADER - 4, "little"))
        if not self._places:
            os.unlink(self._file.name)

    def add(self, path: str) -> Optional[BaseException]:
        """Compiles a module below the directory. Returns why it cannot be."""
        name = os.path.relpath(path, self._root)
        try:
            with open(path, "rb") as source:
                code = marshal.dumps(compile(source.read(), name, "exec", dont_inherit=True))
        except Exception as error:  # of the source: SyntaxError, ValueError, RecursionError, MemoryError, OSError
            return error
        self._places[name] = (self._file.tell(), len(code))
        self._file.write(code)
        return None


def compile_modules(root: str, main: str, module: str) -> bool:
    """Compiles all modules below root. Says on stderr which it cannot; True when the function does without them.

    main, module: the file of the handler's module, and its name, "" for the main file's.
    """
    packages = os.path.join(root, VIRTUALENV)
    failures: Dict[str, BaseException] = {}
    scripts = (os.path.join(root, LAUNCHER_FILE), os.path.join(packages, "bin", ""))  # never imported
    with Bytecode(root) as bytecode:
        for entry in list(walk(root)):
            if not entry.name.endswith(".py") or not entry.is_file(follow_symlinks=False):
                continue
            if entry.path.startswith(scripts):
                continue
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                if not entry.path.startswith(packages + "/"):
                    warnings.simplefilter("default", SyntaxWarning)
                error = bytecode.add(entry.path)
            if error is not None:
                failures[entry.path] = error
    if not failures:
        return True
    needed = imported([root, os.path.join(packages, "lib", PYTHON, "site-packages")], main, module)
    for path, error in failures.items():
        text = "".join(traceback.format_exception_only(type(error), error)).rstrip("\n")
        if path in needed:
            if os.path.basename(path) not in text:  # where the error does not say it
                text = f'  File "{os.path.relpath(path, root)}"\n{text}'
            print(text, file=sys.stderr)
        else:
            line = f":{error.lineno}" if isinstance(error, SyntaxError) else ""
            print(f"Warning: {os.path.relpath(path, root)}{line} is not compiled: {text.splitlines()[-1]}",
                  file=sys.stderr)
    return not needed & failures.keys()


def _say_warning(
    message: Union[Warning, str], category: Type[Warning], filename: str, lineno: int, file: Optional[TextIO] = None,
    line: Optional[str] = None,
) -> None:
    """A warning in one line, as compilers do."""
    print(f"{filename}:{lineno}: {category.__name__}: {message}", file=sys.stderr)


# --- what comes out -----------------------------------------------------------------------------------------


def add_programs(root: str, main: str, handler: Handler) -> None:
    """Puts what OpenWhisk's ActionLoop proxy starts into root, unless the archive has such a program.

    main: the file of the handler's module. Raises Failed when a directory is in the way.
    """
    path = os.path.join(root, EXEC_FILE)
    if os.path.isfile(path) and is_program(path):
        return
    launcher = _LAUNCHER.replace("MODULE", handler.module or "main__").replace("FUNCTION", handler.function)
    try:
        _write(path, _EXEC, 0o755)
        _write(os.path.join(root, LAUNCHER_FILE), launcher)
        environment = os.environ.get("OW_EXECUTION_ENV")
        if environment:
            _write(path + ".env", environment)
    except OSError as error:
        raise Failed(f"cannot write '{os.path.basename(str(error.filename))}': {error.strerror}") from None


def _add(archive: zipfile.ZipFile, name: str, path: str, status: os.stat_result) -> None:
    is_directory = stat.S_ISDIR(status.st_mode)
    info = zipfile.ZipInfo(name + "/" if is_directory else name, ZIP_TIME)
    info.create_system = 3  # Unix: the upper half of external_attr is st_mode
    info.external_attr = (stat.S_IFMT(status.st_mode) | stat.S_IMODE(status.st_mode) & 0o777) << 16
    info.compress_type = zipfile.ZIP_DEFLATED
    if stat.S_ISLNK(status.st_mode):
        archive.writestr(info, os.fsencode(os.readlink(path)))
    elif is_directory:
        archive.writestr(info, b"")
    else:
        info.file_size = status.st_size
        with open(path, "rb") as source, archive.open(info, "w") as target:
            shutil.copyfileobj(source, target, _COPY_SIZE)


def write_archive(root: str, file: BinaryIO) -> None:
    """Writes a zip of the directory. Raises Failed for one that the server would refuse."""
    size = 0
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for count, entry in enumerate(walk(root)):
            status = entry.stat(follow_symlinks=False)
            size += status.st_size if entry.is_file(follow_symlinks=False) else 0
            if count >= ENTRIES_MAX or size > BYTES_MAX:
                raise Failed(f"with its packages it is more than {ENTRIES_MAX} files or {BYTES_MAX} bytes")
            _add(archive, os.path.relpath(entry.path, root), entry.path, status)
        archive.comment = MARK


def compile_function(source: BinaryIO, target: BinaryIO, handler: Handler) -> None:
    """Reads the code of a function and writes its archive. Raises Failed, or OSError."""
    with temporary_directory() as work:
        root = os.path.join(work, "function")
        os.mkdir(root)
        take_code(source, work, root, handler)
        install_requirements(root, work)
        main = find_main(root, handler)
        status, _ = run([sys.executable, "-IS", os.path.realpath(__file__), "--modules", root, main or "",
                         handler.module])
        if status != 0:
            raise Failed("" if status == 1 else f"the compiler ended with status {status}")
        if main is not None:
            add_programs(root, main, handler)
        with open(os.path.join(work, "archive"), "w+b") as file:
            write_archive(root, file)
            if file.tell() > CODE_MAX:
                print(f"Warning: the archive has {file.tell()} bytes, platforms take {CODE_MAX}", file=sys.stderr)
            file.seek(0)
            shutil.copyfileobj(file, target, _COPY_SIZE)


def main() -> int:
    """Entry point; returns the exit status."""
    os.umask(0o022)  # the modes in the archive do not depend on who makes it
    is_part = len(sys.argv) == 5 and sys.argv[1] == "--modules"  # of the work, which has a process of its own
    if not is_part and (len(sys.argv) != 2 or sys.stdin.isatty() or sys.stdout.isatty()):
        print("usage: pyaction -compile MAIN <in.zip >out.zip", file=sys.stderr)
        return 2
    try:
        if is_part:
            warnings.showwarning = _say_warning
            return 0 if compile_modules(*sys.argv[2:]) else 1
        with open(sys.stdout.fileno(), "wb", closefd=False) as target:
            compile_function(sys.stdin.buffer, target, split_handler(sys.argv[1]))
    except Failed as error:
        if str(error):
            print(f"pyaction -compile: {error}", file=sys.stderr)
        return 1
    except (OSError, UnicodeError) as error:
        print(f"pyaction -compile: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
