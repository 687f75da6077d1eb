"""A certificate authority of the tests' own, and certificates of servers that it has signed."""

from __future__ import annotations

import pwd
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Authority:
    """``ca`` is the file that clients are told to trust."""

    ca: Path
    _certificate: x509.Certificate
    _key: ec.EllipticCurvePrivateKey

    def server(self, folder: Path, host: str, user: str | None = None) -> tuple[Path, Path]:
        """Certificate and key files for a server of that name or address, which only ``user`` may read."""
        key = ec.generate_private_key(ec.SECP256R1())
        named = x509.IPAddress(ip_address(host)) if host[0].isdigit() else x509.DNSName(host)
        names = x509.SubjectAlternativeName([named])
        made = _builder(host, key).issuer_name(self._certificate.subject).add_extension(names, critical=False)
        certificate_file, key_file = folder / "server.pem", folder / "server.key"
        certificate_file.write_bytes(made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        key_file.chmod(0o600)
        if user is not None:
            for file in (certificate_file, key_file):
                shutil.chown(file, user, pwd.getpwnam(user).pw_gid)
        return certificate_file, key_file


def authority(folder: Path, name: str) -> Authority:
    """A new authority; its file is ``<name>.pem``."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(name, key)
    builder = builder.issuer_name(_name(name)).add_extension(x509.BasicConstraints(True, None), critical=True)
    certificate = builder.sign(key, hashes.SHA256())
    file = folder / f"{name}.pem"
    file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return Authority(file, certificate, key)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(subject: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=2))
    )
