"""Reading content back: from its row or its file, whole or not at all."""

from __future__ import annotations

import io
import json
import os
import sqlite3
from collections.abc import Collection
from typing import Any, Final

from harakapy.mail.content import BLOCK_SIZE, Content, find_end_of_header
from harakapy.queue.errors import ContentUnreadable, MessageNotFound
from harakapy.queue.files import ContentFiles
from harakapy.queue.sqlite_claims import quarantine
from harakapy.queue.sqlite_commits import first_key, last_key, seq_of
from harakapy.queue.sqlite_errors import is_damage
from harakapy.queue.sqlite_rows import FINAL_CODE

__all__ = ["open_content", "quarantine_message", "small_contents"]

_FIND: Final = "SELECT m.size, m.file, c.octets FROM message m LEFT JOIN content c USING (seq) WHERE m.id = ?"
_FIND_SMALL: Final = """
    SELECT m.id, m.size, c.octets FROM message m JOIN content c USING (seq)
    WHERE m.file IS NULL AND m.id IN (SELECT value FROM json_each(?))
"""


def open_content(connection: sqlite3.Connection, files: ContentFiles, message_id: str) -> Content:
    """As `Store.open_content`, but for the quarantine. Raises OSError and sqlite3.Error, too."""
    try:
        row: tuple[Any, ...] | None = connection.execute(_FIND, (message_id,)).fetchone()
    except sqlite3.DatabaseError as error:
        if is_damage(error):
            raise ContentUnreadable(message_id, str(error)) from error
        raise
    if row is None:
        raise MessageNotFound(message_id)
    size, file, octets = row
    if file is not None:
        return _open_file(files, file, size, message_id)
    if not isinstance(octets, bytes) or len(octets) != size:
        raise ContentUnreadable(message_id, f"its {size} octets are not there, or not all")
    return Content.from_bytes(octets)


def small_contents(connection: sqlite3.Connection, message_ids: Collection[str]) -> dict[str, Content]:
    """As `Store.contents`: what is in the database, whole. Raises sqlite3.Error."""
    rows = connection.execute(_FIND_SMALL, (json.dumps(list(message_ids)),))
    return {
        message_id: Content.from_bytes(octets)
        for message_id, size, octets in rows
        if isinstance(octets, bytes) and len(octets) == size
    }


def quarantine_message(connection: sqlite3.Connection, message_id: str, reason: str) -> int:
    """Set aside all deliveries of a message that are not final; how many."""
    seq = seq_of(connection, message_id)
    if seq is None:
        return 0
    rows = connection.execute(
        "SELECT key FROM delivery WHERE key BETWEEN ? AND ? AND state < ?",
        (first_key(seq), last_key(seq), FINAL_CODE),
    ).fetchall()
    quarantine(connection, {key: reason for (key,) in rows})
    return len(rows)


def _open_file(files: ContentFiles, name: str, size: int, message_id: str) -> Content:
    try:
        file = files.open(name)
    except FileNotFoundError as error:
        raise ContentUnreadable(message_id, f"its file is not there: {name!r}") from error
    try:
        found = os.fstat(file.fileno()).st_size
        if found != size:
            raise ContentUnreadable(message_id, f"its file {name!r} has {found} octets, not {size}")
        return Content(b"", file, size, _header_size(file, size))
    except (ContentUnreadable, OSError):
        file.close()
        raise


def _header_size(file: io.FileIO, size: int) -> int:
    """Octets of the header, as `Content` counts them."""
    before = b"\r\n"
    for at in range(0, size, BLOCK_SIZE):
        block = os.pread(file.fileno(), BLOCK_SIZE, at)
        end = find_end_of_header(before, block)
        if end is not None:
            return at + end
        before = (before + block)[-3:]
    return size
