"""The certificates of one control plane: its CA, the server's, and one for any user at any time (CN the name, O the groups)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hami_core.testing.cluster.ports import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

DAYS = timedelta(days=30)
SERVER_NAMES = (LOOPBACK, "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "10.96.0.1")


class Certificates:
    """PEM files in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self._ca = trustme.CA(key_type=trustme.KeyType.ECDSA)
        self._ca.cert_pem.write_to_path(str(self.ca))
        self._write("server", self._ca.issue_cert(*SERVER_NAMES, key_type=trustme.KeyType.ECDSA))
        self._write_key(self.service_account_key)

    @property
    def ca(self) -> Path:
        """The CA's certificate, by which the server is known."""
        return self.folder / "ca.pem"

    @property
    def server(self) -> tuple[Path, Path]:
        """The API server's certificate and key."""
        return self.folder / "server.pem", self.folder / "server.key"

    @property
    def service_account_key(self) -> Path:
        """The key that signs service accounts' tokens, and proves them."""
        return self.folder / "service-accounts.key"

    def _write(self, name: str, leaf: trustme.LeafCert) -> None:
        leaf.private_key_pem.write_to_path(str(self.folder / f"{name}.key"))
        for pem in leaf.cert_chain_pems:
            pem.write_to_path(str(self.folder / f"{name}.pem"), append=True)

    def _write_key(self, path: Path) -> None:
        path.write_bytes(_pem(ec.generate_private_key(ec.SECP256R1())))

    def server_for(self, *identities: str) -> tuple[bytes, bytes]:
        """A certificate chain and its key, in PEM, for a server of somebody else's: a webhook, an extender."""
        leaf = self._ca.issue_cert(*identities, key_type=trustme.KeyType.ECDSA)
        return b"".join(pem.bytes() for pem in leaf.cert_chain_pems), leaf.private_key_pem.bytes()

    @cached_property
    def _signer(self) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        key = load_pem_private_key(self._ca.private_key_pem.bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return x509.load_pem_x509_certificate(self._ca.cert_pem.bytes()), key

    def client(self, user: str, groups: Iterable[str] = ()) -> tuple[bytes, bytes]:
        """Certificate and key, in PEM, of a user. trustme's own can carry one group at most."""
        authority, signer = self._signer
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)
        names = [x509.NameAttribute(NameOID.COMMON_NAME, user)]
        names += [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name(names))
            .issuer_name(authority.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + DAYS)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        )
        certificate = builder.sign(signer, hashes.SHA256())
        return certificate.public_bytes(serialization.Encoding.PEM), _pem(key)

    def client_files(self, user: str, groups: Iterable[str] = ()) -> tuple[Path, Path]:
        """The same in files: for clients that read no bytes."""
        stem = "+".join((user, *groups)).replace("/", "_")
        certificate, key = self.folder / f"user-{stem}.pem", self.folder / f"user-{stem}.key"
        if not key.exists():
            for path, pem in zip((certificate, key), self.client(user, groups), strict=True):
                path.write_bytes(pem)
        return certificate, key


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
