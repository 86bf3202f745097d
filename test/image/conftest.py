"""Fixtures of the tests of the built image."""

import shutil
from typing import Any, Callable, Iterator, List, Tuple

import pytest

from . import containers
from .containers import Container


#: What was measured, with the test that did it.
_figures: List[Tuple[str, str]] = []


def pytest_configure() -> None:
    """Refuse to run without docker or without the image."""
    if shutil.which(containers.DOCKER) is None:
        raise pytest.UsageError(f"no {containers.DOCKER} in PATH (another one: DOCKER=podman)")
    if containers.docker("image", "inspect", containers.IMAGE, check=False).returncode != 0:
        raise pytest.UsageError(f"no image {containers.IMAGE}: run make image, or set PYACTION_IMAGE")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Show the figures, whatever the tests made of them."""
    if _figures:
        terminalreporter.section(f"measured on {containers.IMAGE}")
        for what, value in _figures:
            terminalreporter.write_line(f"{what}: {value}")


@pytest.fixture
def figure() -> Callable[[str, Any], None]:
    """Return a function that notes what was measured: figure("MB more than the base", 58.1)."""
    return lambda what, value: _figures.append((what, f"{value:.1f}" if isinstance(value, float) else str(value)))


@pytest.fixture
def container() -> Iterator[Callable[..., Container]]:
    """Return a function that starts a container: container(*options of docker run, command=[...])."""
    started: List[Container] = []

    def start(*options: str, **keywords: Any) -> Container:
        started.append(Container(options, **keywords))
        return started[-1]

    yield start
    for one in started:
        one.remove()
