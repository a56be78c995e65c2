"""The `[listen.extensions]` table: extensions of SMTP that an operator may want to withhold."""

from pydantic import Field

from harakapy.config.validate import Section

__all__ = ["ExtensionSettings"]


class ExtensionSettings(Section):
    """What is offered at one address besides what every client is offered."""

    dsn: bool = Field(
        True,
        description=(
            "DSN (RFC 3461): senders may say which reports they want, and what these are to return. Without "
            "it nobody can ask for reports of success, which tell a stranger that an address exists."
        ),
    )
    deliverby: bool = Field(
        True,
        description=(
            "DELIVERBY (RFC 2852): senders may say when a message is no longer worth delivering, or when "
            "they want to hear that it is late. See `smtp.min_deliver_by`."
        ),
    )
    mt_priority: bool = Field(
        True,
        description=(
            "MT-PRIORITY (RFC 6710): clients that may relay say how urgent a message is; others can only "
            "ask for less than usual."
        ),
    )
    requiretls: bool = Field(
        True,
        description=(
            "REQUIRETLS (RFC 8689): senders may demand that a message goes over verified TLS all the way, "
            "or comes back. It is offered under TLS only."
        ),
    )
    futurerelease: bool | None = Field(
        None,
        description=(
            "FUTURERELEASE (RFC 4865): senders may have a message held back for a time. It is for our own "
            "users, so unless set it is offered where `role` is `submission`. See `smtp.max_future_release`."
        ),
        json_schema_extra={"default": "on for submission"},
    )
