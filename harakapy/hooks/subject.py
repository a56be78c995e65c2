"""What a connection and a transaction have in common for plugins: notes and results."""

from __future__ import annotations

from harakapy.hooks.notes import Notes
from harakapy.hooks.results import Results


class Subject:
    """Something that plugins write notes and results on; both end with it.

    Made when somebody asks for them, since most connections and messages pass without.
    """

    __slots__ = ("_notes", "_results")

    def __init__(self) -> None:
        self._notes: Notes | None = None
        self._results: Results | None = None

    @property
    def notes(self) -> Notes:
        """What plugins write down for one another."""
        if self._notes is None:
            self._notes = Notes()
        return self._notes

    @property
    def results(self) -> Results:
        """What each plugin found."""
        if self._results is None:
            self._results = Results()
        return self._results
