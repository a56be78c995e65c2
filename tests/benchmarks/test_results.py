"""Medians, ratios, tables and the picture."""

from __future__ import annotations

import json
from xml.etree import ElementTree

from tests.benchmarks.durable import read_numbers, synced_replies
from tests.benchmarks.plot import plot
from tests.benchmarks.results import OURS, Goal, Results, Sample, reached, this_machine
from tests.benchmarks.table import page, shown, table


def _sample(rate: float) -> Sample:
    return Sample(rate, 100.0, 50 * 1024 * 1024, 0.4, 1000, 0.5)


def _results(**rates: list[float]) -> Results:
    """Of the load accept-kept; ``haraka`` stands for Haraka."""
    results = Results(this_machine(), {})
    for name, values in rates.items():
        peer = name.replace("haraka", "Haraka") if name == "haraka" else name
        results.versions[peer] = "1"
        for value in values:
            results.add("accept-kept", peer, _sample(value))
    return results


def test_the_median_ignores_a_round_that_was_disturbed() -> None:
    assert _results(harakapy=[1000, 10, 1010]).median("accept-kept", OURS) == 1000


def test_a_ratio_is_of_the_same_round() -> None:
    results = _results(harakapy=[1000, 100, 1000], haraka=[500, 50, 500])
    assert results.ratio("accept-kept", OURS, "Haraka") == 2


def test_there_is_no_median_of_what_failed_in_one_round() -> None:
    results = _results(harakapy=[1000], haraka=[500])
    results.fail("accept-kept", "Haraka", "refused")
    assert results.median("accept-kept", "Haraka") is None
    assert results.ratio("accept-kept", OURS, "Haraka") is None


def test_results_come_back_from_json() -> None:
    results = _results(harakapy=[1000, 1010])
    results.fail("relay-kept", OURS, "stuck")
    assert Results.from_json(json.loads(json.dumps(results.as_json()))) == results


def test_only_goals_that_were_measured_are_told() -> None:
    results = _results(harakapy=[1000], haraka=[500])
    goals = (Goal("accept-kept", "Haraka", 1.7), Goal("relay-kept", "Haraka", 5.0))
    assert reached(results, goals) == [(goals[0], 2.0, 1.0)]


def test_a_goal_may_be_of_another_server_of_ours() -> None:
    results = _results(harakapy=[500], haraka=[250], x2=[900])
    goal = Goal("accept-kept", OURS, 1.6, ours="x2")
    assert reached(results, [goal]) == [(goal, 1.8, 1.0)]


def test_a_table_has_numbers_to_the_right() -> None:
    assert table(["", "a"], [["b", "1"]]) == "|  | a |\n| --- | --: |\n| b | 1 |"


def test_numbers_have_the_digits_they_are_worth() -> None:
    assert [shown(number) for number in (12345.6, 12.34, 1.234, None)] == ["12,346", "12.3", "1.23", "-"]


def test_the_page_tells_rates_ratios_failures_and_what_is_missing() -> None:
    results = _results(harakapy=[1000], haraka=[500])
    results.missing["Exim"] = "not installed"
    results.fail("relay-kept", "Haraka", "stuck")
    text = page(results)
    assert "| accept, 4 KiB, kept connections | 1,000 | 500 (0.50) |" in text
    assert "without Exim: not installed" in text
    assert "- relay-kept, Haraka: stuck" in text


def test_the_picture_is_wellformed_and_has_a_bar_for_each_rate() -> None:
    picture = ElementTree.fromstring(plot(_results(harakapy=[1000], haraka=[500])))
    texts = [element.text for element in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert {"1,000", "500", "accept, 4 KiB, kept connections"} <= set(texts)


def test_a_number_that_was_not_written_whole_was_not_acknowledged() -> None:
    assert read_numbers("1\n22\n33") == {1, 22}


CONTENT = '7 write(19, "354 go a"..., 27) = 27\n'
REPLY = '7 write(19, "250 2.0."..., 30) = 30\n'


def test_a_reply_after_a_sync_is_synced() -> None:
    assert synced_replies([CONTENT, "8 fdatasync(9) = 0\n", REPLY]) == 1


def test_a_sync_that_was_interrupted_in_the_trace_counts_when_it_ends() -> None:
    begun, ended = "8 fsync(9 <unfinished ...>\n", "8 <... fsync resumed>) = 0\n"
    assert synced_replies([CONTENT, begun, REPLY, ended]) == 0
    assert synced_replies([CONTENT, begun, ended, REPLY]) == 1


def test_a_sync_before_354_or_after_the_reply_or_in_vain_does_not_count() -> None:
    failed = "8 fsync(9) = -1 EIO\n"
    assert synced_replies(["8 fsync(9) = 0\n", CONTENT, failed, REPLY, "8 fsync(9) = 0\n"]) == 0
