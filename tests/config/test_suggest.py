"""Which names an unknown one may mean."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harakapy.config import Settings, SmtpSettings, did_you_mean, near_names, nearest

KEYS = list(SmtpSettings.model_fields)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("max_recipents", "max_recipients"),
        ("max-recipients", "max_recipients"),
        ("Max Recipients", "max_recipients"),
        ("MAX_HOPS", "max_hops"),
        ("maxhops", "max_hops"),
        ("bare_newline", "bare_newlines"),
        ("greting", "greeting"),
        ("spool_directory", "spool_dir"),
        ("max_message_siez", "max_message_size"),
    ],
)
def test_slip_finds_the_key(written: str, meant: str) -> None:
    assert nearest(written, KEYS) == meant


@pytest.mark.parametrize("written", ["", "x", "tls", "qwertyuiop", "listen"])
def test_nothing_is_suggested_for_what_resembles_nothing(written: str) -> None:
    assert nearest(written, KEYS) is None
    assert near_names(written, KEYS) == ()


def test_sections_are_found_too() -> None:
    assert nearest("listn", Settings.model_fields) == "listen"
    assert nearest("Plugins", Settings.model_fields) == "plugins"


def test_best_comes_first_and_not_too_many() -> None:
    found = near_names("max_header", KEYS)
    assert found[0] in ("max_header_size", "max_header_line")
    assert 2 <= len(found) <= 3


@given(st.sampled_from(KEYS))
def test_known_name_is_nearest_to_itself(key: str) -> None:
    assert nearest(key, KEYS) == key


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ([], ""),
        (["a"], "did you mean a?"),
        (["a", "b"], "did you mean a or b?"),
        (["a", "b", "c"], "did you mean a, b or c?"),
    ],
)
def test_suggestion_is_a_question(names: list[str], text: str) -> None:
    assert did_you_mean(names) == text
