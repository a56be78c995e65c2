import json

import pytest

from harakapy.hooks import Notes


def test_a_note_is_found_by_its_path() -> None:
    notes = Notes()
    notes.set("queue.next_hop", "smtp://mx.example")
    assert notes.get("queue.next_hop") == "smtp://mx.example"
    assert notes.get(["queue", "next_hop"]) == "smtp://mx.example"
    assert notes == {"queue": {"next_hop": "smtp://mx.example"}}


def test_a_path_of_keys_may_hold_dots() -> None:
    notes = Notes()
    notes.set(["seen", "mail.example"], 3)
    assert notes.get(["seen", "mail.example"]) == 3
    assert notes.get("seen.mail.example") is None


@pytest.mark.parametrize("path", ["missing", "queue.missing", "queue.wants.deeper", "queue.wants.x.y"])
def test_a_missing_note_is_the_default(path: str) -> None:
    notes = Notes(queue={"wants": "maildir"})
    assert notes.get(path) is None
    assert notes.get(path, 5) == 5


def test_a_note_of_none_is_not_missing() -> None:
    assert Notes(seen=None).get("seen", "default") is None


def test_setting_replaces_unless_told_otherwise() -> None:
    notes = Notes()
    notes.set("a.b", 1)
    notes.set("a.b", 2)
    notes.set("a.b", 3, only_if_missing=True)
    notes.set("a.c", 4, only_if_missing=True)
    assert notes == {"a": {"b": 2, "c": 4}}


def test_a_path_does_not_run_through_a_value() -> None:
    notes = Notes(tarpit=True)
    with pytest.raises(
        TypeError, match=r"^note 'tarpit' of path 'tarpit.delay' holds a bool, not a dictionary$"
    ):
        notes.set("tarpit.delay", 5)
    assert notes == {"tarpit": True}


def test_notes_are_a_dictionary_that_json_can_keep() -> None:
    notes = Notes()
    notes["plain"] = 1
    notes.set("a.b", [1, 2])
    assert json.loads(json.dumps(notes)) == {"plain": 1, "a": {"b": [1, 2]}}
