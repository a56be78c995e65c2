from __future__ import annotations

import pytest

from harakapy.queue.memory_store import MemoryStore

from .conformance import StoreConformance


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


class TestMemoryStore(StoreConformance):
    """In memory."""
