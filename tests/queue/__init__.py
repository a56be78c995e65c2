"""Tests of the queue. `conformance` is what any store must pass."""
