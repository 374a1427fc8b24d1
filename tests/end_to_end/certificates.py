"""Certificates for tests, made by openssl."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.end_to_end.real_parts import need


@dataclass(frozen=True)
class Certificates:
    """An authority, and a certificate of its own; paths of files in PEM."""

    ca: Path
    certificate: Path
    key: Path


def certificates_for(name: str, directory: Path) -> Certificates:
    """Make an authority, and a certificate for this host name."""
    ca, ca_key = directory / "ca.pem", directory / "ca-key.pem"
    certificate, key, request = (directory / each for each in ("cert.pem", "key.pem", "request.pem"))
    extensions = directory / "extensions"
    extensions.write_text(f"subjectAltName=DNS:{name}\n")
    _openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=authority",
             "-keyout", ca_key, "-out", ca)  # fmt: skip
    _openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-keyout", key, "-out", request)
    _openssl("x509", "-req", "-in", request, "-CA", ca, "-CAkey", ca_key, "-CAcreateserial", "-days", "2",
             "-extfile", extensions, "-out", certificate)  # fmt: skip
    return Certificates(ca, certificate, key)


def _openssl(*arguments: str | Path) -> None:
    subprocess.run([need("openssl"), *map(str, arguments)], check=True, capture_output=True)
