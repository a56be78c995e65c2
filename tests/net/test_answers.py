import dns.rdata
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harakapy.net import NameNotFound, NoData, TemporaryDnsError
from harakapy.net.answers import (
    FAILURE_TTL_S,
    MAX_NEGATIVE_TTL_S,
    MAX_TTL_S,
    AnswerCache,
    DnsError,
    Outcome,
)


def question(n: int) -> tuple[str, str]:
    return f"{n}.example", "A"


def outcome(n: int, ttl_s: float = 60) -> Outcome:
    return Outcome(records=(dns.rdata.from_text("IN", "A", f"192.0.2.{n}"),), ttl_s=ttl_s)


def test_the_least_recently_used_answer_goes_first() -> None:
    cache = AnswerCache(max_answers=3)
    for n in (1, 2, 3):
        cache.put(question(n), outcome(n), now=0)
    cache.get(question(1), now=1)
    cache.put(question(4), outcome(4), now=1)
    assert [cache.get(question(n), now=2) is not None for n in (1, 2, 3, 4)] == [True, False, True, True]
    assert len(cache) == 3


def test_a_newer_answer_replaces_the_older() -> None:
    cache = AnswerCache()
    cache.put(question(1), outcome(1, ttl_s=10), now=0)
    cache.put(question(1), outcome(2, ttl_s=20), now=5)
    assert cache.get(question(1), now=24) == outcome(2, ttl_s=20)
    assert cache.get(question(1), now=25) is None
    assert len(cache) == 0


@pytest.mark.parametrize(
    ("failure", "ttl_s", "lifetime_s"),
    [
        (None, 300, 300),
        (None, 1e9, MAX_TTL_S),
        (NameNotFound, 300, 300),
        (NameNotFound, 1e9, MAX_NEGATIVE_TTL_S),
        (NoData, 1e9, MAX_NEGATIVE_TTL_S),
        (TemporaryDnsError, 0, FAILURE_TTL_S),
    ],
)
def test_each_kind_of_outcome_is_remembered_for_its_time(
    failure: type[DnsError] | None, ttl_s: float, lifetime_s: float
) -> None:
    assert Outcome(failure=failure, ttl_s=ttl_s).lifetime_s == lifetime_s


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 5), st.integers(0, 9), st.integers(0, 5)), max_size=60)
)
def test_the_cache_never_gives_what_is_over_and_never_grows_beyond_its_size(
    steps: list[tuple[bool, int, int, int]],
) -> None:
    cache = AnswerCache(max_answers=3)
    put: dict[tuple[str, str], tuple[float, Outcome]] = {}
    now = 0.0
    for is_put, n, ttl_s, pause_s in steps:
        now += pause_s
        if is_put:
            cache.put(question(n), outcome(n, ttl_s), now)
            if ttl_s:
                put[question(n)] = (now + ttl_s, outcome(n, ttl_s))
        elif (known := cache.get(question(n), now)) is not None:
            ends, last = put[question(n)]
            assert known == last
            assert now < ends
        assert len(cache) <= 3
