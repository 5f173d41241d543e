"""A software authenticator: makes passkeys and signs with them, as a browser returns it (WebAuthn Level 2)."""

import base64
import hashlib
import json
import secrets
from dataclasses import dataclass, field
from typing import Any

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

PRESENT, VERIFIED, ATTESTED = 0x01, 0x04, 0x40


def text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@dataclass
class Authenticator:
    """One passkey. `flags` says whether it has checked its user; `counts` if it counts its signatures."""

    origin: str = "http://api.test"
    site_id: str = "api.test"
    flags: int = PRESENT | VERIFIED
    counts: bool = True
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    credential_id: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    signatures: int = 0

    def create(self, options: dict[str, Any], **client_data: str) -> dict[str, Any]:
        """The new credential for these options."""
        numbers = self.key.public_key().public_numbers()
        key = {1: 2, 3: -7, -1: 1, -2: numbers.x.to_bytes(32, "big"), -3: numbers.y.to_bytes(32, "big")}
        attested = bytes(16) + len(self.credential_id).to_bytes(2, "big") + self.credential_id + cbor2.dumps(key)
        data = self._data(self.flags | ATTESTED) + attested
        response = {
            "clientDataJSON": text(self._client_data("webauthn.create", options, client_data)),
            "attestationObject": text(cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data})),
            "transports": ["internal"],
        }
        return self._credential(response)

    def get(self, options: dict[str, Any], **client_data: str) -> dict[str, Any]:
        """A signature for these options."""
        self.signatures += self.counts
        data = self._data(self.flags)
        client = self._client_data("webauthn.get", options, client_data)
        signature = self.key.sign(data + hashlib.sha256(client).digest(), ec.ECDSA(hashes.SHA256()))
        response = {
            "clientDataJSON": text(client),
            "authenticatorData": text(data),
            "signature": text(signature),
        }
        return self._credential(response)

    def _data(self, flags: int) -> bytes:
        return hashlib.sha256(self.site_id.encode()).digest() + bytes([flags]) + self.signatures.to_bytes(4, "big")

    def _client_data(self, type_: str, options: dict[str, Any], changed: dict[str, str]) -> bytes:
        client = {"type": type_, "challenge": options["challenge"], "origin": self.origin} | changed
        return json.dumps(client).encode()

    def _credential(self, response: dict[str, Any]) -> dict[str, Any]:
        id_ = text(self.credential_id)
        return {
            "id": id_, "rawId": id_, "type": "public-key", "response": response, "clientExtensionResults": {},
            "authenticatorAttachment": "platform",
        }  # fmt: skip
