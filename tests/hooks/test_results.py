import re

import pytest

from harakapy.hooks import Plugin, Results, Subject
from harakapy.hooks.results import LISTS


class Checker(Plugin):
    name = "checker"


@pytest.mark.parametrize("key", LISTS)
def test_findings_are_collected(key: str) -> None:
    results = Results()
    results.add("checker", **{key: "one"})
    results.add("checker", **{key: ["two", "three"]})
    assert results.get("checker") == {key: ["one", "two", "three"]}


def test_other_keys_hold_their_latest_value() -> None:
    results = Results()
    results.add("checker", score=3, hosts=["a"])
    results.add("checker", score=5)
    assert results.get("checker") == {"score": 5, "hosts": ["a"]}


def test_an_underscore_behind_a_key_is_dropped() -> None:
    results = Results()
    results.add("checker", pass_="rdns", fail_="spf")
    assert results.get("checker") == {"pass": ["rdns"], "fail": ["spf"]}


def test_counters_begin_at_0() -> None:
    results = Results()
    results.incr("checker", score=2)
    results.incr("checker", score=-0.5, seen=1)
    assert results.get("checker") == {"score": 1.5, "seen": 1}


def test_pushing_appends_under_a_free_key() -> None:
    results = Results()
    results.push("checker", host="a.example")
    results.push("checker", host="b.example")
    assert results.get("checker") == {"host": ["a.example", "b.example"]}


def test_nothing_found_is_an_empty_dictionary() -> None:
    results = Results()
    assert results.get("checker") == {}
    assert results.collate("checker") == ""
    assert results.all() == {}


def test_findings_are_asked_for_by_value_or_pattern() -> None:
    results = Results()
    results.add("checker", fail=["spf: softfail", "dmarc"], score=5, listed=False, pass_=[])
    assert results.has("checker", "fail", "dmarc")
    assert not results.has("checker", "fail", "spf")
    assert results.has("checker", "fail", re.compile("^spf"))
    assert not results.has("checker", "fail", re.compile("^dkim"))
    assert results.has("checker", "score", 5)
    assert results.has("checker", "score", re.compile("^5$"))
    assert results.has("checker", "listed", False)
    assert not results.has("checker", "pass", re.compile(""))


def test_what_was_never_found_equals_nothing() -> None:
    results = Results()
    assert not results.has("checker", "score", None)
    assert not results.has("checker", "score", re.compile(""))
    results.add("checker", score=None)
    assert results.has("checker", "score", None)
    assert not results.has("checker", "score", re.compile("None"))


def test_one_line_tells_it_all() -> None:
    results = Results()
    results.add("checker", pass_=["rdns", "helo"], fail="spf", score=5, _raw="hidden")
    assert results.collate("checker") == "pass: rdns, helo, fail: spf, score: 5"


def test_a_plugin_is_named_by_its_name_or_given_as_itself() -> None:
    results = Results()
    results.add(Checker(), score=1)
    results.incr("checker", score=1)
    results.add(object(), score=1)
    assert results.all() == {"checker": {"score": 2}, "object": {"score": 1}}


def test_a_plugin_s_own_view_says_the_same() -> None:
    holder = Subject()
    own = Checker().results(holder)
    own.add(pass_="rdns", score=1)
    own.incr(score=2)
    own.push(host="a.example")
    assert own.get() == holder.results.get("checker") == {"pass": ["rdns"], "score": 3, "host": ["a.example"]}
    assert own.has("pass", "rdns")
    assert own.collate() == "pass: rdns, score: 3, host: a.example"
