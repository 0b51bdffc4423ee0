"""What all interop tests need: root and the distribution's packages. Without them every test fails and says what is missing."""

from __future__ import annotations

import pytest

from tests.lab import missing_requirements


@pytest.fixture(scope="session", autouse=True)
def requirements() -> None:
    """A test that cannot run is a failure: a skip would look like success."""
    missing = missing_requirements()
    if missing:
        pytest.fail(f"interop tests need {'; '.join(missing)}", pytrace=False)
