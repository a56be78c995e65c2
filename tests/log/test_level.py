"""The levels and their order."""

import pytest

from harakapy.log import Level


def test_ten_levels_have_the_numbers_of_haraka() -> None:
    assert {level.name: int(level) for level in Level} == {
        "EMERG": 0,
        "ALERT": 1,
        "CRIT": 2,
        "ERROR": 3,
        "WARN": 4,
        "NOTICE": 5,
        "INFO": 6,
        "DEBUG": 7,
        "PROTOCOL": 8,
        "DATA": 9,
    }


@pytest.mark.parametrize("name", ["info", "INFO", "Info"])
def test_a_level_is_found_by_its_name_in_any_case(name: str) -> None:
    assert Level.parse(name) is Level.INFO


@pytest.mark.parametrize("name", Level.names())
def test_every_listed_name_is_a_level(name: str) -> None:
    assert Level.parse(name).name.lower() == name


@pytest.mark.parametrize("name", ["", "warning", "__class__", "parse", "6"])
def test_an_unknown_name_is_refused_with_the_ten_that_exist(name: str) -> None:
    with pytest.raises(
        ValueError, match="emerg, alert, crit, error, warn, notice, info, debug, protocol, data"
    ):
        Level.parse(name)
