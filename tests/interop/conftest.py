"""What interop tests need, root and the distribution's packages, and a ring of three daemons for the client libraries."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from libcmap import Cmap
from tests.interop.clients import NODES, Clients
from tests.interop.transcripts import compile_participant
from tests.lab import Lab, missing_requirements

DAEMONS = ("stock", "ours")
"""Tests that use ``lab`` run against both."""


@pytest.fixture(scope="session", autouse=True)
def requirements() -> None:
    """A test that cannot run is a failure: a skip would look like success."""
    missing = missing_requirements()
    if missing:
        pytest.fail(f"interop tests need {'; '.join(missing)}", pytrace=False)


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """participant.c, compiled against the distribution's libcpg."""
    return compile_participant(tmp_path_factory.mktemp("participant"))


@pytest.fixture(scope="module", params=DAEMONS)
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A ring of three daemons of one kind."""
    with Lab(len(NODES)) as lab:
        for number in NODES:
            if request.param == "stock":
                lab.stock_node(number)
            else:
                lab.our_node(number)
        lab.wait_ring(NODES)
        yield lab


@pytest.fixture
def clients(lab: Lab) -> Iterator[Clients]:
    with contextlib.ExitStack() as stack:
        yield Clients(lab, stack)


@pytest.fixture
def cmap(clients: Clients) -> Iterator[Cmap]:
    """A connection to node 1's map; what a test leaves below ``lab.`` is removed."""
    library = clients.open(Cmap)
    yield library
    for entry in list(library.iterate("lab.")):
        library.delete(entry.key)
