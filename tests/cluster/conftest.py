"""Failures of cluster tests show what the daemons wrote."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from tests.cluster.harness import Cluster


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the nodes' logs to the report of a test that failed."""
    report = yield
    if report.failed:
        report.sections += [(f"logs of {cluster.name}", cluster.logs()) for cluster in Cluster.existing]
    return report
