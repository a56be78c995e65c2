"""A mail transaction: one sender, its recipients, and the content, from MAIL to the reply behind the dot."""

from __future__ import annotations

from harakapy.hooks import Subject
from harakapy.mail import Content, Header
from harakapy.smtp import Address, MailParameters, RcptParameters, Reply


class Transaction(Subject):
    """What plugins see of one message. The names are Haraka's.

    ``uuid`` is the connection's with the number of the transaction behind it. ``rcpt_to`` holds the accepted
    recipients; a plugin may replace, add and remove entries, and ``rcpt_params`` keeps the ESMTP parameters
    of those that came with some, also for those that hook_rcpt and hook_rcpt_ok have put in their place.
    ``content`` is there from hook_data_post on. ``data_bytes`` counts the octets received, also when they
    were too many to keep. ``is_relaying`` is None while the connection's flag holds. ``reply`` is the latest
    one given in the transaction. ``skipped_plugins`` names plugins whose hooks are passed over for this
    message.
    """

    __slots__ = (
        "_content", "data_bytes", "is_relaying", "mail_from", "mail_params", "rcpt_params", "rcpt_refused",
        "rcpt_to", "reply", "skipped_plugins", "started_at", "uuid",
    )  # fmt: skip

    def __init__(self, uuid: str, mail_from: Address, mail_params: MailParameters, started_at: float) -> None:
        super().__init__()
        self.uuid = uuid
        self.mail_from = mail_from
        self.mail_params = mail_params
        self.rcpt_to: list[Address] = []
        self.rcpt_params: dict[Address, RcptParameters] = {}
        self.rcpt_refused = 0
        self.data_bytes = 0
        self.is_relaying: bool | None = None
        self.skipped_plugins: frozenset[str] = frozenset()
        self.started_at = started_at
        self.reply: Reply | None = None
        self._content: Content | None = None

    @property
    def content(self) -> Content:
        """The content, once it has been received. Raises RuntimeError before."""
        if self._content is None:
            raise RuntimeError("the content is there from hook_data_post on, not before")
        return self._content

    @content.setter
    def content(self, content: Content) -> None:
        self._content = content

    @property
    def has_content(self) -> bool:
        """Whether the content has been received."""
        return self._content is not None

    @property
    def header(self) -> Header:
        """The header of the content, to read and to change. Raises RuntimeError before hook_data_post."""
        return self.content.header

    def add_header(self, name: str, value: str) -> None:
        """Append a field to the header. Raises ValueError for a name or value that no field can have."""
        self.header.add(name, value)

    def add_leading_header(self, name: str, value: str) -> None:
        """Put a field before all others. Raises ValueError as `add_header` does."""
        self.header.prepend(name, value)

    def remove_header(self, name: str) -> int:
        """Remove all fields of that name; how many there were."""
        return self.header.remove(name)

    def replace_body(self, body: bytes) -> None:
        """Put other octets in the place of everything behind the header."""
        self.content.replace_body(body)

    def close(self) -> None:
        """Give up the content and its spool file."""
        if self._content is not None:
            self._content.close()
            self._content = None
