"""Zip archives: what is unpacked, how, and what must never happen."""

import io
import os
import pathlib
import shutil
import stat
import subprocess
import tempfile
import time
import zipfile
import zlib

import pytest

from . import archives
from .archives import Entry, directory_entry, file_entry, link_entry, zip_of, zip_of_entries
from .harness import EXECUTABLE, MARKER, PYTHON, may_watch, wait_until

HELLO = "def main():\n    return {'hello': 'zip'}\n"
MAIN = file_entry("__main__.py", HELLO)

#: Describes every path below the working directory: kind, permission bits, link target, content.
LIST_FILES = """
import os, stat
def describe(path):
    status = os.lstat(path)
    if stat.S_ISLNK(status.st_mode):
        return ['link', os.readlink(path)]
    if stat.S_ISDIR(status.st_mode):
        return ['dir', stat.S_IMODE(status.st_mode)]
    kind = 'file' if stat.S_ISREG(status.st_mode) else 'other'
    with open(path, 'rb') as file:
        return [kind, stat.S_IMODE(status.st_mode), file.read(1000).decode('latin-1')]
def main():
    found = {}
    for root, directories, files in os.walk('.'):
        if '__pycache__' in root:
            continue
        for name in directories + files:
            path = os.path.relpath(os.path.join(root, name), '.')
            found[path] = describe(path)
    return found
"""
LIST_MAIN = file_entry("__main__.py", LIST_FILES)


def assert_refused(one, archive: bytes) -> str:
    """The archive must be refused with a reason, and an ordinary one then accepted; the reason."""
    answer = one.init(archive)
    assert answer.status in (400, 502), answer
    reason = answer.error + one.err.text()
    assert one.init(zip_of_entries([MAIN])).status == 200
    assert one.result() == {"hello": "zip"}
    return reason


@pytest.fixture
def outside(tmp_path: pathlib.Path) -> pathlib.Path:
    """A directory that no archive may touch; checked when the test is over."""
    directory = tmp_path / "outside"
    directory.mkdir()
    (directory / "keep").write_text("untouched")
    yield directory
    assert sorted(path.name for path in directory.iterdir()) == ["keep"]
    assert (directory / "keep").read_text() == "untouched"


# --- ordinary archives


def test_files_directories_and_permissions(action):
    one = action(
        zip_of_entries(
            [
                LIST_MAIN,
                file_entry("run.sh", "#!/bin/sh\necho ran\n", 0o755),
                file_entry("data.bin", bytes(range(256)), 0o644),
                directory_entry("a/"),
                file_entry("a/b/c/deep.txt", "deep", 0o600),
                directory_entry("empty/"),
                file_entry("nothing", ""),
            ]
        )
    )
    found = one.result()
    assert found["run.sh"][:1] + found["run.sh"][2:] == ["file", "#!/bin/sh\necho ran\n"]
    assert found["run.sh"][1] & 0o111
    assert not found["data.bin"][1] & 0o111
    assert found["data.bin"][2] == bytes(range(256)).decode("latin-1")
    assert found["a/b/c/deep.txt"][2] == "deep"
    assert found["empty"][0] == "dir"
    assert found["nothing"][2] == ""


def test_executable_of_the_archive_can_be_started(action):
    code = (
        "import subprocess\n"
        "def main():\n"
        "    return {'out': subprocess.check_output(['./bin/tool', 'x'], text=True)}\n"
    )
    tool = file_entry("bin/tool", '#!/bin/sh\necho "tool $1"\n', 0o755)
    assert action(zip_of_entries([file_entry("__main__.py", code), tool])).result() == {
        "out": "tool x\n"
    }


def test_symbolic_links_survive(action):
    """Relative, absolute and dangling ones: virtualenvs have them all."""
    one = action(
        zip_of_entries(
            [
                LIST_MAIN,
                file_entry("lib/real.py", "x = 1\n"),
                link_entry("alias.py", "lib/real.py"),
                link_entry("lib64", "lib"),
                link_entry("bin/python3", "/usr/bin/python3"),
                link_entry("bin/python", "python3"),
                link_entry("dangling", "no/such/file"),
                link_entry("up", "../../elsewhere"),
                link_entry("loop", "loop"),
            ]
        )
    )
    found = one.result()
    assert {name: found[name][1] for name in found if found[name][0] == "link"} == {
        "alias.py": "lib/real.py",
        "lib64": "lib",
        "bin/python3": "/usr/bin/python3",
        "bin/python": "python3",
        "dangling": "no/such/file",
        "up": "../../elsewhere",
        "loop": "loop",
    }


def test_main_may_be_a_link_inside_the_archive(action):
    entries = [link_entry("__main__.py", "src/app.py"), file_entry("src/app.py", HELLO)]
    assert action(zip_of_entries(entries)).result() == {"hello": "zip"}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED], ids=["stored", "deflated"])
def test_compression_methods(action, method):
    assert action(zip_of_entries([MAIN], method)).result() == {"hello": "zip"}


def test_entries_with_mode_zero_are_usable(action):
    """Archives made by careless tools: Go's proxy leaves such files unreadable."""
    one = action(
        zip_of_entries(
            [
                Entry("__main__.py", LIST_FILES, stat.S_IFREG),
                Entry("bare", "bare", 0),
                Entry("dir/", "", stat.S_IFDIR),
                Entry("dir/inside", "inside", stat.S_IFREG),
            ]
        )
    )
    found = one.result()
    assert found["bare"][0] == "file" and found["bare"][1] & 0o400
    assert found["dir"][1] & 0o700 == 0o700
    assert found["dir/inside"][2] == "inside" and found["dir/inside"][1] & 0o400


def test_read_only_directory_entry_before_its_files(action):
    entries = [LIST_MAIN, directory_entry("dir/", 0o555), file_entry("dir/inside", "inside", 0o444)]
    assert action(zip_of_entries(entries)).result()["dir/inside"][2] == "inside"


def test_java_archive_without_modes_and_with_data_descriptors(action):
    one = action(archives.java_zip({"META-INF/": "", "__main__.py": LIST_FILES, "a/b.txt": "b"}))
    found = one.result()
    assert found["a/b.txt"][2] == "b"
    assert found["META-INF"][0] == "dir"


def test_archive_with_a_comment(action):
    buffer = io.BytesIO(zip_of({"__main__.py": HELLO}))
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.comment = b"made by hand " * 100
    assert action(buffer.getvalue()).result() == {"hello": "zip"}


def test_names_beyond_ascii(action):
    code = (
        "import os\n"
        "def main():\n"
        "    return {'names': sorted(os.listdir('d')), 'text': open('d/grüße.txt').read()}\n"
    )
    files = {"__main__.py": code, "d/grüße.txt": "hallo", "d/日本.txt": "x"}
    assert action(zip_of(files)).result() == {"names": ["grüße.txt", "日本.txt"], "text": "hallo"}


def test_name_that_is_not_utf8(server):
    """Either refused with a reason, or unpacked under some name; never a dead server."""
    one = server()
    odd = archives.raw_zip(b"caf\xe9\xff.txt", b"odd")
    main = archives.raw_zip(b"__main__.py", b"def main():\n    return {'ok': 1}\n")
    answer = one.init(archives.join_zips(main, odd))
    assert answer.status in (200, 400, 502)
    if answer.status == 200:
        assert one.result() == {"ok": 1}
    else:
        assert answer.error
        assert one.init(zip_of_entries([MAIN])).status == 200


def test_name_marked_utf8_that_is_not(server):
    one = server()
    odd = archives.raw_zip(b"caf\xe9\xff.txt", b"odd", flags=archives.FLAG_UTF8)
    main = archives.raw_zip(b"__main__.py", b"def main():\n    return {'ok': 1}\n")
    answer = one.init(archives.join_zips(main, odd))
    assert answer.status in (200, 400, 502)
    assert answer.status != 200 or one.result() == {"ok": 1}


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_duplicate_names(server):
    """Either refused, or one of the two wins whole; Python's and Info-ZIP's tools take the last."""
    one = server()
    first = "def main():\n    return {'which': 'first'}\n"
    last = "def main():\n    return {'which': 'last'}\n"
    answer = one.init(zip_of_entries([file_entry("__main__.py", first), file_entry("__main__.py", last)]))
    assert answer.status in (200, 400, 502)
    if answer.status == 200:
        assert one.result() == {"which": "last"}
    else:
        assert "__main__.py" in answer.error + one.err.text()


@pytest.mark.parametrize(
    "entries",
    [
        pytest.param([file_entry("thing", "file"), file_entry("thing/below", "x")], id="file-then-dir"),
        pytest.param([file_entry("thing/below", "x"), file_entry("thing", "file")], id="dir-then-file"),
        pytest.param([directory_entry("thing/"), link_entry("thing", "/")], id="dir-then-link"),
    ],
)
def test_entries_that_contradict_each_other(server, entries):
    one = server()
    answer = one.init(zip_of_entries([MAIN, *entries]))
    assert answer.status in (200, 400, 502)
    if answer.status == 200:
        assert one.result() == {"hello": "zip"}
    else:
        assert answer.error
        assert one.init(zip_of_entries([MAIN])).status == 200


def test_ten_thousand_entries(action):
    code = (
        "import os\n"
        "def main():\n"
        "    names = [n for _, _, files in os.walk('many') for n in files]\n"
        "    last = open('many/99/9999.txt').read()\n"
        "    return {'count': len(names), 'last': last}\n"
    )
    entries = [file_entry("__main__.py", code)]
    entries += [file_entry(f"many/{n % 100}/{n}.txt", str(n)) for n in range(10_000)]
    begun = time.monotonic()
    one = action(zip_of_entries(entries, zipfile.ZIP_STORED))
    assert one.result() == {"count": 10_000, "last": "9999"}
    assert time.monotonic() - begun < 15


def test_large_entry(action):
    content = os.urandom(1 << 20) * 24
    code = (
        "import zlib\ndef main():\n"
        "    return {'crc': zlib.crc32(open('big', 'rb').read())}\n"
    )
    entries = [file_entry("__main__.py", code), file_entry("big", content)]
    one = action(zip_of_entries(entries, zipfile.ZIP_STORED))
    assert one.result() == {"crc": zlib.crc32(content)}


def test_archive_made_by_info_zip(action, tmp_path):
    """The usual way: `zip -ry action.zip .`"""
    if shutil.which("zip") is None:
        pytest.skip("Info-ZIP's zip is not installed")
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    (folder / "__main__.py").write_text(LIST_FILES)
    (folder / "sub" / "tool").write_text("#!/bin/sh\n")
    (folder / "sub" / "tool").chmod(0o755)
    (folder / "link").symlink_to("sub/tool")
    subprocess.run(["zip", "-qry", "../action.zip", "."], cwd=folder, check=True)
    found = action((tmp_path / "action.zip").read_bytes()).result()
    assert found["sub/tool"][1] == 0o755
    assert found["link"] == ["link", "sub/tool"]


def test_bytecode_in_the_archive_does_not_hide_its_source(action):
    """A stale __pycache__ from the developer's machine is checked against the source."""
    entries = [
        file_entry("__main__.py", "import m\ndef main():\n    return {'v': m.V}\n"),
        file_entry("m.py", "V = 'source'\n"),
        file_entry("__pycache__/m.cpython-311.pyc", b"\0" * 64),
    ]
    assert action(zip_of_entries(entries)).result() == {"v": "source"}


# --- no entry point


@pytest.mark.parametrize(
    "archive",
    [
        pytest.param(zip_of({}), id="empty"),
        pytest.param(zip_of({"a/": "", "a/b/": ""}), id="directories-only"),
        pytest.param(zip_of({"deeper/__main__.py": HELLO}), id="only-deeper"),
        pytest.param(zip_of({"main.py": HELLO, "readme": ""}), id="other-names"),
    ],
)
def test_zip_without_main(server, archive):
    one = server()
    answer = one.init(archive)
    assert answer.status == 502
    assert answer.error.startswith(
        "The action failed to generate or locate a binary. See logs for details."
    )
    assert one.out.content() == MARKER
    assert "Zip file does not include" in one.err.text()
    assert one.err.markers() == 1
    assert one.err.content().endswith(b"\n" + MARKER)
    assert one.init(zip_of_entries([MAIN])).status == 200


# --- broken archives


@pytest.mark.parametrize(
    "archive",
    [
        pytest.param(zip_of_entries([MAIN])[:-10], id="end-record"),
        pytest.param(zip_of_entries([MAIN])[:-40], id="directory"),
        pytest.param(zip_of_entries([MAIN])[:40], id="first-entry"),
        pytest.param(b"PK\x03\x04", id="magic-only"),
    ],
)
def test_truncated(server, archive):
    assert assert_refused(server(), archive)


def test_corrupt_checksum(server):
    archive = zip_of_entries([MAIN, file_entry("data", "important data")], zipfile.ZIP_STORED)
    assert "data" in assert_refused(server(), archives.corrupt(archive, b"important data"))


def test_corrupt_deflate_stream(server):
    archive = archives.raw_zip(
        b"__main__.py", b"\xff" * 50, size=100, crc=0, method=zipfile.ZIP_DEFLATED
    )
    assert "__main__.py" in assert_refused(server(), archive)


def test_size_in_the_header_is_a_lie(server):
    """The checksum fits: refused, or unpacked whole; not cut off at the size that was claimed."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = packer.compress(HELLO.encode()) + packer.flush()
    archive = archives.raw_zip(
        b"__main__.py", data, size=5, crc=zlib.crc32(HELLO.encode()), method=zipfile.ZIP_DEFLATED
    )
    one = server()
    answer = one.init(archive)
    assert answer.status in (200, 400, 502), answer
    assert answer.status != 200 or one.result() == {"hello": "zip"}


def test_encrypted(server):
    archive = archives.raw_zip(b"__main__.py", b"0" * 12 + b"secret", flags=archives.FLAG_ENCRYPTED)
    assert "encrypted" in assert_refused(server(), archive).lower()


def test_unknown_compression_method(server):
    archive = archives.raw_zip(b"__main__.py", b"secret", method=99)
    assert assert_refused(server(), archive)


def test_offsets_beyond_the_end(server):
    archive = bytearray(zip_of_entries([MAIN]))
    end = archive.rindex(b"PK\x05\x06")
    archive[end + 16:end + 20] = b"\xff\xff\xff\x7f"
    assert assert_refused(server(), bytes(archive))


@pytest.mark.parametrize(
    "archive",
    [
        pytest.param(archives.bomb(3000), id="honest-3-GB"),
        pytest.param(archives.bomb(3000, claimed_bytes=100), id="lying-3-GB"),
    ],
)
def test_bomb(server, archive):
    """3 MB that unpack to 3 GB: refused in seconds, and nothing of it stays on the disk."""
    one = server()
    assert len(archive) < 4 << 20
    begun = time.monotonic()
    assert_refused(one, archive)
    assert time.monotonic() - begun < 15
    wait_until(lambda: len(list(one.work_dir.iterdir())) == 1, "only the folder of the next init is left")


def test_bomb_of_many_entries(server):
    """Each entry is small enough, all together they are not."""
    size = 64 << 20
    entry = archives.raw_zip(
        b"zeros00",
        archives.deflated_zeros(64),
        size=size,
        crc=zlib.crc32(bytes(size)),
        method=zipfile.ZIP_DEFLATED,
    )
    assert_refused(server(), archives.many_names(entry, 48))


# --- escapes


@pytest.mark.parametrize(
    "name",
    [
        "../escaped",
        "../../escaped",
        "a/../../escaped",
        "./../escaped",
        "a/b/../../../escaped",
        "..",
        "a/..",
    ],
)
def test_dot_dot_stays_inside(server, name):
    one = server()
    answer = one.init(zip_of_entries([MAIN, file_entry(name, "escaped")]))
    assert answer.status in (200, 400, 502), answer
    for directory in (one.directory, one.directory.parent, one.work_dir):
        assert not (directory / "escaped").exists()
    assert answer.status != 200 or one.result() == {"hello": "zip"}


def test_absolute_name_stays_inside(server, outside):
    one = server()
    answer = one.init(zip_of_entries([MAIN, file_entry(f"{outside}/escaped", "escaped")]))
    assert answer.status in (200, 400, 502), answer


def test_absolute_name_cannot_overwrite(server, outside):
    one = server()
    answer = one.init(zip_of_entries([MAIN, file_entry(f"{outside}/keep", "overwritten")]))
    assert answer.status in (200, 400, 502), answer


def test_backslashes_are_no_way_out(server, outside):
    one = server()
    names = ["..\\escaped", "..\\..\\escaped", str(outside / "escaped").replace("/", "\\")]
    answer = one.init(zip_of_entries([MAIN, *(file_entry(name, "x") for name in names)]))
    assert answer.status in (200, 400, 502), answer
    assert not (one.directory / "escaped").exists()


def link_escapes(outside: pathlib.Path):
    """Archives whose links lead to `outside` and whose later entries go through them."""
    return {
        "file-through-directory-link": [
            link_entry("d", str(outside)),
            file_entry("d/escaped", "x"),
        ],
        "overwrite-through-directory-link": [
            link_entry("d", str(outside)),
            file_entry("d/keep", "x"),
        ],
        "through-file-link": [
            link_entry("f", str(outside / "escaped")),
            file_entry("f", "x"),
        ],
        "through-link-to-existing-file": [
            link_entry("f", str(outside / "keep")),
            file_entry("f", "x"),
        ],
        "chain-of-links": [
            link_entry("b", str(outside)),
            link_entry("a", "b"),
            file_entry("a/escaped", "x"),
        ],
        "link-below-a-link": [
            link_entry("d", str(outside)),
            link_entry("d/escaped", "/etc"),
        ],
        "directory-below-a-link": [
            link_entry("d", str(outside)),
            directory_entry("d/escaped/"),
        ],
        "implied-directory-below-a-link": [
            link_entry("d", str(outside)),
            file_entry("d/escaped/file", "x"),
        ],
        "relative-link": [
            link_entry("up", "../" * 20 + str(outside)[1:]),
            file_entry("up/escaped", "x"),
        ],
        "link-with-a-slash-in-its-name": [
            Entry("d/", str(outside), stat.S_IFLNK | 0o777),
            file_entry("d/escaped", "x"),
        ],
        "mode-change-through-a-link": [
            link_entry("d", str(outside)),
            directory_entry("d/", 0o777),
        ],
        "dot-segments-after-a-link": [
            link_entry("d", str(outside / "deeper")),
            file_entry("d/../escaped", "x"),
        ],
        "main-is-a-link-to-a-host-file": [
            link_entry("__main__.py", "/etc/passwd"),
            file_entry("__main__.py", HELLO),
        ],
    }


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", sorted(link_escapes(pathlib.Path("/nowhere"))))
def test_links_are_no_way_out(server, outside, kind):
    one = server()
    before = outside.stat().st_mode
    answer = one.init(zip_of_entries([MAIN, *link_escapes(outside)[kind]]))
    assert answer.status in (200, 400, 502), answer
    assert outside.stat().st_mode == before
    if answer.status == 200:
        assert one.result() == {"hello": "zip"}
    else:
        assert answer.error
        assert one.init(zip_of_entries([MAIN])).status == 200


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(stat.S_IFIFO, id="fifo"),
        pytest.param(stat.S_IFCHR, id="char-device"),
        pytest.param(stat.S_IFBLK, id="block-device"),
        pytest.param(stat.S_IFSOCK, id="socket"),
    ],
)
def test_special_files_are_not_made(server, kind):
    one = server()
    answer = one.init(zip_of_entries([LIST_MAIN, Entry("special", "x", kind | 0o666)]))
    assert answer.status in (200, 400, 502), answer
    if answer.status == 200:
        assert one.result().get("special", ["file"])[0] == "file"


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("x" * 300, id="component-too-long"),
        pytest.param("/".join(["d" * 50] * 200), id="path-too-long"),
        pytest.param("a//b", id="double-slash"),
        pytest.param("./a/./b", id="dots"),
        pytest.param("a\nb\x1b[31m", id="control-characters"),
    ],
)
def test_odd_names(server, name):
    one = server()
    answer = one.init(zip_of_entries([MAIN, file_entry(name, "x")]))
    assert answer.status in (200, 400, 502), answer
    if answer.status == 200:
        assert one.result() == {"hello": "zip"}
    else:
        assert answer.error
        assert one.init(zip_of_entries([MAIN])).status == 200


def test_name_with_a_null_byte(server):
    one = server()
    odd = archives.raw_zip(b"__main__.py\0.txt", HELLO.encode())
    answer = one.init(odd)
    assert answer.status in (200, 400, 502), answer


def test_deeply_nested_link_tree_is_removed_without_following(action, outside):
    """The clean-up at the end must not follow links out of the directory."""
    one = action(zip_of_entries([MAIN, link_entry("a/b/out", str(outside))]))
    assert one.result() == {"hello": "zip"}
    one.finish()
    assert (outside / "keep").exists()


LOCKED_DIRECTORIES = """
import os
def main():
    os.makedirs('deep/' * 200)
    os.makedirs('locked/inner')
    open('locked/inner/file', 'w').close()
    os.chmod('locked/inner', 0)
    os.chmod('locked', 0o500)
    return {}
"""


def test_files_that_the_function_made_are_removed(action):
    """Read-only directories and deep trees of the function's own making too."""
    assert action(LOCKED_DIRECTORIES).result() == {}


# --- as a user without privileges: modes count for it

NOBODY = 65534


@pytest.fixture
def unprivileged(server):
    """A server that runs as another user, in a work directory of that user's."""
    if os.getuid() != 0:
        pytest.skip("only root can become another user")
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv is not installed")
    work_dir = pathlib.Path(tempfile.mkdtemp(prefix="blackbox-"))
    os.chown(work_dir, NOBODY, NOBODY)
    user = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    if subprocess.run([*user, "test", "-x", str(EXECUTABLE)], check=False).returncode != 0:
        pytest.skip("the executable is out of the other user's reach")
    if not may_watch(user):
        pytest.skip("may not look into another user's processes")
    one = server(wrapper=user, options=["--work-dir", str(work_dir)])
    yield one
    one.finish()
    left = list(work_dir.iterdir())
    shutil.rmtree(work_dir)
    assert left == []


def test_unprivileged_user(unprivileged):
    assert unprivileged.init("import os\ndef main():\n    return {'uid': os.getuid()}\n").status == 200
    assert unprivileged.result() == {"uid": NOBODY}


def test_unprivileged_user_and_entries_without_permissions(unprivileged):
    archive = zip_of_entries(
        [
            Entry("__main__.py", LIST_FILES, stat.S_IFREG),
            Entry("bare", "bare", 0),
            Entry("dir/", "", stat.S_IFDIR),
            Entry("dir/inside", "inside", stat.S_IFREG),
            directory_entry("read-only/", 0o555),
            file_entry("read-only/inside", "inside", 0o444),
            file_entry("write-only", "text", 0o222),
        ]
    )
    assert unprivileged.init(archive).status == 200
    found = unprivileged.result()
    assert {name: entry[2] for name, entry in found.items() if entry[0] == "file"} == {
        "__main__.py": LIST_FILES[:1000],
        "bare": "bare",
        "dir/inside": "inside",
        "read-only/inside": "inside",
        "write-only": "text",
    }


def test_unprivileged_users_locked_directories_are_removed(unprivileged):
    assert unprivileged.init(LOCKED_DIRECTORIES).status == 200
    assert unprivileged.result() == {}


def test_unprivileged_failed_init_with_locked_directories(unprivileged):
    archive = zip_of_entries(
        [file_entry("__main__.py", "1 / 0\n"), directory_entry("d/", 0o111), file_entry("d/f", "x", 0)]
    )
    for _ in range(2):
        assert unprivileged.init(archive).status == 502
    assert unprivileged.init("def main():\n    return {'ok': 1}\n").status == 200


def test_installed_interpreter_agrees_on_the_archive(tmp_path):
    """Guards the test's own archives: Python's zipfile reads the honest ones."""
    path = tmp_path / "a.zip"
    path.write_bytes(archives.java_zip({"__main__.py": HELLO}))
    listing = subprocess.run(
        [PYTHON, "-m", "zipfile", "-t", str(path)], check=True, capture_output=True, text=True
    )
    assert "Done testing" in listing.stdout
