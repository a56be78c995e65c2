"""Enhanced status codes: text and value."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harakapy.mail import status
from harakapy.mail.status import EnhancedStatus

NUMBERS = st.integers(0, 999)
CONSTANTS = {name: value for name, value in vars(status).items() if isinstance(value, EnhancedStatus)}


@given(st.sampled_from([2, 4, 5]), NUMBERS, NUMBERS)
def test_a_code_is_read_back(category: int, subject: int, detail: int) -> None:
    code = EnhancedStatus(category, subject, detail)
    assert EnhancedStatus.parse(str(code)) == code
    assert (code.is_success, code.is_transient, code.is_permanent).index(True) == [2, 4, 5].index(category)
    assert code.meaning


@pytest.mark.parametrize(
    "text", ["", "5", "5.1", "3.1.1", "5.1.1 ", "5.01.1", "5.1.1000", "5.1.1.1", "5.1.٣"]
)
def test_what_is_no_code_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not an enhanced status code"):
        EnhancedStatus.parse(text)


@pytest.mark.parametrize("numbers", [(3, 0, 0), (5, -1, 0), (5, 0, 1000)])
def test_numbers_out_of_range_are_refused(numbers: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="not an enhanced status code"):
        EnhancedStatus(*numbers)


def test_an_unknown_detail_means_its_subject() -> None:
    assert EnhancedStatus(5, 1, 1).meaning == "no such mailbox"
    assert EnhancedStatus(5, 1, 999).meaning == "a problem with an address"
    assert EnhancedStatus(5, 999, 1).meaning == "no more is known"


def test_a_reason_can_become_final() -> None:
    assert status.NO_ANSWER.with_category(5) == EnhancedStatus(5, 4, 1)


@pytest.mark.parametrize("name", CONSTANTS)
def test_every_constant_has_a_meaning_of_its_own(name: str) -> None:
    code = CONSTANTS[name]
    assert code.detail == 0 or code.meaning != EnhancedStatus(code.category, code.subject, 0).meaning
