"""Fixtures of the tests of the built image."""

import shutil
from typing import Any, Callable, Iterator, List

import pytest

from . import containers
from .containers import Container


def pytest_configure() -> None:
    """Refuse to run without docker or without the image."""
    if shutil.which(containers.DOCKER) is None:
        raise pytest.UsageError(f"no {containers.DOCKER} in PATH (another one: DOCKER=podman)")
    if containers.docker("image", "inspect", containers.IMAGE, check=False).returncode != 0:
        raise pytest.UsageError(f"no image {containers.IMAGE}: run make image, or set PYACTION_IMAGE")


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
