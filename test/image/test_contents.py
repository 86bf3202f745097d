"""What is in the image, and what is not."""

import json
import pathlib
import re
from typing import Any, Callable, Dict, List, Set

import pytest

from .containers import IMAGE, ROOT, Container, docker, in_image, inspect_image, wheel_folder

#: Bytes that the slim image may be larger than its base. Source: issue "the image".
SLIM = 60_000_000

#: Programs that have no place where functions run.
BUILD_TOOLS = ("gcc", "cc", "g++", "clang", "make", "ld", "as", "cmake", "git", "cargo")

VERSIONS = {"bullseye": "3.9", "bookworm": "3.11", "trixie": "3.13"}


@pytest.fixture(scope="module")
def base() -> str:
    """The image it is made from."""
    return str(inspect_image(IMAGE)["Config"]["Labels"]["org.opencontainers.image.base.name"])


@pytest.fixture(scope="module")
def with_packages() -> bool:
    """Whether it is one of the targets with the packages of a platform."""
    return "packages.in" in in_image("ls", "/usr/local/share/pyaction")


def test_configuration() -> None:
    config = inspect_image(IMAGE)["Config"]
    assert config["Entrypoint"] == ["pyaction"]
    assert config["User"] == "65534:65534"
    assert config["WorkingDir"] == "/function"
    assert set(config["ExposedPorts"]) == {"8080/tcp", "9000/tcp"}
    assert config.get("StopSignal", inspect_image(IMAGE).get("StopSignal")) in ("SIGTERM", "15")


def test_labels() -> None:
    labels = inspect_image(IMAGE)["Config"]["Labels"]
    assert labels["org.opencontainers.image.title"] == "pyaction"
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    version = labels["org.opencontainers.image.version"]
    assert version in ("", in_image("pyaction", "--version").split()[1])


def test_version_of_python(base: str) -> None:
    version = VERSIONS[base.rpartition(":")[2].partition("-")[0]]
    assert in_image("python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])").strip() == version


def test_size(base: str, with_packages: bool) -> None:
    if with_packages:
        pytest.skip("only the slim image is small")
    more = inspect_image(IMAGE)["Size"] - inspect_image(base)["Size"]
    assert more < SLIM, f"{more / 1e6:.1f} MB"


@pytest.mark.parametrize("tool", BUILD_TOOLS)
def test_no_build_tools(tool: str) -> None:
    found = docker("run", "--rm", "--network=none", "--entrypoint=sh", IMAGE, "-c", f"command -v {tool}", check=False)
    assert (found.returncode != 0, found.stdout) == (True, "")


def test_no_headers_and_no_leftovers() -> None:
    packages = in_image("dpkg-query", "-W", "-f", "${Package}\n").split()
    assert not [name for name in packages if name.endswith("-dev")]
    assert in_image("find", "/usr/include", "/var/lib/apt/lists", "/var/cache/apt", "/tmp", "-type", "f",
                    check=False) == ""


@pytest.mark.parametrize("module", [
    "ssl", "sqlite3", "ctypes", "bz2", "lzma", "zlib", "uuid", "decimal", "curses", "readline", "hashlib",
    "multiprocessing", "asyncio", "zoneinfo", "xml.etree.ElementTree", "pip",
])
def test_standard_library(module: str) -> None:
    in_image("python3", "-W", "error", "-c", f"import {module}")


def test_certificates_and_time_zones() -> None:
    """Debian 11's OpenSSL looks for a certificate in a folder when it needs it, later ones load a file with all."""
    program = ("import os, ssl, zoneinfo; zoneinfo.ZoneInfo('America/New_York');"
               "loaded = ssl.create_default_context().cert_store_stats()['x509_ca'];"
               "print(max(loaded, len(os.listdir(ssl.get_default_verify_paths().capath))))")
    assert int(in_image("python3", "-c", program)) > 100


def test_pip_installs_a_wheel(tmp_path: pathlib.Path) -> None:
    """As any user, without the network."""
    said = in_image("sh", "-c", "pip install --quiet --no-index --target /tmp/packages /wheels/*.whl && "
                    "PYTHONPATH=/tmp/packages python3 -c 'import greeting; print(greeting.text)'",
                    options=["--user=123456", f"--volume={wheel_folder(tmp_path)}:/wheels:ro"])
    assert said == "installed\n"


def test_packages_can_be_imported_by_a_function(with_packages: bool, container: Callable[..., Container]) -> None:
    """check-imports ran in the build; here a function does it, in the runner."""
    if not with_packages:
        pytest.skip("the slim image has no packages")
    lines = in_image("cat", "/usr/local/share/pyaction/packages.in").splitlines()
    modules: List[str] = []
    for line in lines:
        requirement, _, comment = line.partition("#")
        if requirement.strip():
            name = re.split("[=>]", requirement)[0]
            modules += comment.split()[1:] or [name.replace("-", "_")]
    assert modules
    one = container()
    assert one.init("""
import importlib
def main(event):
    return {name: importlib.import_module(name).__file__ for name in event["modules"]}
""").status == 200
    found = one.result({"modules": modules})
    assert all(path.startswith("/usr/local/lib/python3") for path in found.values()), found


# --- licences and the bill of materials ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def sbom() -> Dict[str, Any]:
    """The bill of materials of the image."""
    document: Dict[str, Any] = json.loads(in_image("cat", "/usr/local/share/pyaction/sbom.cdx.json"))
    return document


def test_bill_of_materials_is_complete(sbom: Dict[str, Any]) -> None:
    assert (sbom["bomFormat"], sbom["specVersion"]) == ("CycloneDX", "1.5")
    components = {(one["purl"].split("/")[0], one["name"], one["version"]) for one in sbom["components"]}
    assert len(components) == len(sbom["components"])
    installed = in_image("dpkg-query", "-W", "-f", "${Package} ${Version}\n").splitlines()
    expected = {("pkg:deb", *line.split()) for line in installed}
    expected.add(("pkg:generic", "pyaction", in_image("pyaction", "--version").split()[1]))
    program = ("import importlib.metadata as m, sys; path = [p for p in sys.path if p.startswith('/usr/local')];"
               "[print(d.metadata['Name'], d.version) for d in m.distributions(path=path)]")
    expected |= {("pkg:pypi", *line.split()) for line in in_image("python3", "-c", program).splitlines()}
    assert components == expected


def test_every_debian_package_has_its_copyright_file(sbom: Dict[str, Any]) -> None:
    have = set(in_image("sh", "-c", "cd /usr/share/doc && ls -d */copyright").split())
    debian = {one["name"] for one in sbom["components"] if one["purl"].startswith("pkg:deb/")}
    assert not {name for name in debian if f"{name}/copyright" not in have}


def test_notice_names_what_is_added_to_the_base(base: str, sbom: Dict[str, Any]) -> None:
    in_base: Set[str] = set(docker("run", "--rm", "--network=none", base, "dpkg-query", "-W", "-f", "${Package}\n"
                                   ).stdout.split())
    added = {one["name"] for one in sbom["components"] if one["purl"].startswith("pkg:deb/")} - in_base
    notice = (ROOT / "NOTICE").read_text(encoding="utf-8")
    named = {name for line in re.findall(r"(?m)^  (.*)$", notice) for name in line.split(", ")}
    assert added and not added - named
    assert in_image("cat", "/usr/local/share/pyaction/NOTICE") == notice
