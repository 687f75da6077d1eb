"""The certificate of a first start: self-signed, for this machine's names."""

from __future__ import annotations

import ipaddress
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from whimbrel.catalog.home import write_private
from whimbrel.errors import InvalidRequest

VALID_DAYS = 825  # the most that current clients accept of a certificate they were told to trust


def ensure_certificate(certificate: Path, key: Path) -> bool:
    """Make the pair when both files are absent; True when made. Raises InvalidRequest when only one is there."""
    if certificate.exists() and key.exists():
        return False
    if certificate.exists() or key.exists():
        there, missing = (certificate, key) if certificate.exists() else (key, certificate)
        raise InvalidRequest(f"{there} is there, but {missing} is not: give both, or remove it to have both made")
    private = ec.generate_private_key(ec.SECP256R1())
    made = _self_signed(private, socket.gethostname())
    write_private(
        key,
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )
    write_private(certificate, made.public_bytes(serialization.Encoding.PEM))
    return True


def fingerprint(certificate: Path) -> str:
    """The SHA-256 that clients show, in pairs of hex digits."""
    loaded = x509.load_pem_x509_certificate(certificate.read_bytes())
    return loaded.fingerprint(hashes.SHA256()).hex(":").upper()


def _self_signed(key: ec.EllipticCurvePrivateKey, host: str) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Whimbrel API")])
    now = datetime.now(UTC)
    addresses = [ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1")]
    names = [*(x509.DNSName(n) for n in dict.fromkeys(("localhost", host))), *(x509.IPAddress(a) for a in addresses)]
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=VALID_DAYS))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
