"""Logging in, as both sides of the vendor's protocol do it."""

from __future__ import annotations

import hashlib
import secrets

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes


def _cbc(key: bytes, data: bytes, *, encrypt: bool) -> bytes:
    cipher = Cipher(algorithms.AES(key), modes.CBC(bytes(16)))
    return (cipher.encryptor() if encrypt else cipher.decryptor()).update(data)


class Login:
    """The 12c verifier: both sides prove that they know the password, and neither sends it."""

    def __init__(self, password: str) -> None:
        self.password = password.encode()
        self.salt, self.mix, self.part = secrets.token_bytes(16), secrets.token_bytes(16), secrets.token_bytes(32)
        derived = hashlib.pbkdf2_hmac("sha512", self.password, self.salt + b"AUTH_PBKDF2_SPEEDY_KEY", 4096, 64)
        self.key = hashlib.sha512(derived + self.salt).digest()[:32]

    def challenge(self) -> dict[str, tuple[str, int]]:
        return {
            "AUTH_SESSKEY": (_cbc(self.key, self.part, encrypt=True).hex().upper(), 0),
            "AUTH_VFR_DATA": (self.salt.hex().upper(), 0x4815),
            "AUTH_PBKDF2_CSK_SALT": (self.mix.hex().upper(), 0),
            "AUTH_PBKDF2_VGEN_COUNT": ("4096", 0),
            "AUTH_PBKDF2_SDER_COUNT": ("3", 0),
        }

    def answer(self, given: dict[str, str]) -> str | None:
        """The server's proof; None for a wrong password."""
        theirs = _cbc(self.key, bytes.fromhex(given["AUTH_SESSKEY"]), encrypt=False)
        both = (theirs[:32] + self.part).hex().upper().encode()
        shared = hashlib.pbkdf2_hmac("sha512", both, self.mix, 3, 32)
        plain = _cbc(shared, bytes.fromhex(given["AUTH_PASSWORD"]), encrypt=False)
        said = plain[16 : -plain[-1]] if plain and plain[-1] <= 16 else b""
        if said != self.password:
            return None
        proof = secrets.token_bytes(16) + b"SERVER_TO_CLIENT" + bytes([16]) * 16
        return _cbc(shared, proof, encrypt=True).hex().upper()
