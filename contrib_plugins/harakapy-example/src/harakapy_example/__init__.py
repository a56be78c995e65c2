"""Refuses the recipients that its settings name."""

from harakapy import DENY, Address, Connection, Plugin, PluginConfig, RcptParameters, Verdict, hookimpl


class ExampleConfig(PluginConfig):
    """The table ``[plugin.example]``."""

    refused: list[str] = []
    reason: str = "not here"


class Example(Plugin[ExampleConfig]):
    """Refuses recipients."""

    @hookimpl
    async def hook_rcpt(
        self, connection: Connection, recipient: Address, params: RcptParameters
    ) -> Verdict | None:
        """DENY for those that are to be refused; no opinion about others."""
        if recipient.address not in self.config.refused:
            return None
        connection.log.info("recipient refused", plugin=self.name, recipient=recipient.address)
        return DENY(f"5.7.1 {self.config.reason}")
