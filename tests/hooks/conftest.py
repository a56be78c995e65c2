from typing import Any

import pytest

from .scene import Subject


@pytest.fixture
def connection() -> Any:
    """A stand-in for a connection; Any, since the facade's methods ask for the real one."""
    return Subject()
