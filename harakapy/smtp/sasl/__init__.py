"""SASL with no I/O (RFC 4422, RFC 4954): both sides of each mechanism; who may log in is not its matter."""

from harakapy.smtp.sasl.client import ClientMechanism
from harakapy.smtp.sasl.cram_md5 import CramMd5Client, CramMd5Server
from harakapy.smtp.sasl.credentials import (
    CramMd5Credentials,
    Credentials,
    ExternalCredentials,
    PasswordCredentials,
    ScramCredentials,
    TokenCredentials,
)
from harakapy.smtp.sasl.exchange import Challenge, Failed, Failure, SecretRequest, ServerMechanism, Step
from harakapy.smtp.sasl.external import ExternalClient, ExternalServer
from harakapy.smtp.sasl.mechanisms import MECHANISMS, SaslSession, start_exchange, workable_mechanisms
from harakapy.smtp.sasl.oauth import OAuthBearerClient, OAuthBearerServer, XOAuth2Client, XOAuth2Server
from harakapy.smtp.sasl.plain import LoginClient, LoginServer, PlainClient, PlainServer
from harakapy.smtp.sasl.scram_client import ChannelBinding, ScramClient, ScramPlusClient
from harakapy.smtp.sasl.scram_server import ScramPlusServer, ScramServer
from harakapy.smtp.sasl.wire import (
    MAX_RESPONSE_OCTETS,
    decode_initial_response,
    decode_response,
    encode_message,
)
from harakapy.smtp.saslprep import saslprep
from harakapy.smtp.scram_secret import ScramDecoy, ScramSecret

__all__ = [
    "MAX_RESPONSE_OCTETS",
    "MECHANISMS",
    "Challenge",
    "ChannelBinding",
    "ClientMechanism",
    "CramMd5Client",
    "CramMd5Credentials",
    "CramMd5Server",
    "Credentials",
    "ExternalClient",
    "ExternalCredentials",
    "ExternalServer",
    "Failed",
    "Failure",
    "LoginClient",
    "LoginServer",
    "OAuthBearerClient",
    "OAuthBearerServer",
    "PasswordCredentials",
    "PlainClient",
    "PlainServer",
    "SaslSession",
    "ScramClient",
    "ScramCredentials",
    "ScramDecoy",
    "ScramPlusClient",
    "ScramPlusServer",
    "ScramSecret",
    "ScramServer",
    "SecretRequest",
    "ServerMechanism",
    "Step",
    "TokenCredentials",
    "XOAuth2Client",
    "XOAuth2Server",
    "decode_initial_response",
    "decode_response",
    "encode_message",
    "saslprep",
    "start_exchange",
    "workable_mechanisms",
]
