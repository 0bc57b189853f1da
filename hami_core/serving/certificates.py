"""Certificates of our own: an authority, a server's certificate signed by it, and how both are renewed without a gap.

Short lives, renewed after two thirds. A new authority is announced some time before it signs, and an old one stays in the
bundle until it expires, which no certificate of its outlives: so whoever has an older or a newer bundle trusts what is served,
at any time. Where the material is kept, and who is told, is not here.
"""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hami_core.errors import WireError

if TYPE_CHECKING:
    from collections.abc import Sequence

BACKDATED = timedelta(minutes=5)
"""Clocks of those who check differ from ours."""


@frozen
class Pair:
    """A certificate and its key, in PEM."""

    certificate: bytes
    key: bytes


@frozen
class Material:
    """All that has to be kept. ``authorities``: the oldest first; the certificate served is signed by one of them."""

    authorities: tuple[Pair, ...]
    leaf: Pair

    @property
    def bundle(self) -> bytes:
        """What clients have to trust."""
        return b"".join(one.certificate for one in self.authorities)


@frozen
class Lives:
    """How long things live, and how long an authority is known before it signs."""

    authority: timedelta = timedelta(days=365)
    leaf: timedelta = timedelta(days=90)

    @property
    def announced(self) -> timedelta:
        """Long enough for everybody to have heard of it, and much shorter than what is left of its predecessor's life."""
        return min(timedelta(hours=1), self.leaf / 10)


def renewed(now: datetime, hosts: Sequence[str], stored: Material | None, lives: Lives) -> Material:
    """What is to be kept and served from now on: ``stored`` itself, if nothing is due.

    ``hosts``: DNS names and IP addresses that the server is reached by. WireError: what is stored cannot be read.
    """
    authorities = _authorities(now, stored.authorities if stored else (), lives)
    leaf = stored.leaf if stored else None
    if leaf is None or _is_due(now, leaf) or not _serves(leaf, hosts, authorities):
        leaf = _signed(now, hosts, _signer(now, authorities, lives), lives)
    new = Material(authorities, leaf)
    return stored if stored is not None and stored == new else new


def expires(certificate: bytes) -> datetime:
    """The end of a certificate's life. WireError: it cannot be read."""
    return _read(certificate).not_valid_after_utc


def due(material: Material) -> datetime:
    """When the first of what is kept has to be renewed."""
    return min(_due(material.leaf), _due(material.authorities[-1]))


def pairs(certificates: bytes, keys: bytes) -> tuple[Pair, ...]:
    """Certificates and their keys as ``Material`` has them, out of files with one after the other. WireError: no such files."""
    cut = _cut(certificates), _cut(keys)
    if len(cut[0]) != len(cut[1]):
        raise WireError("certificates", "$", f"{len(cut[0])} certificates and {len(cut[1])} keys")
    return tuple(map(Pair, *cut))


# --- Authorities ------------------------------------------------------------------------------------------------------


def _authorities(now: datetime, known: Sequence[Pair], lives: Lives) -> tuple[Pair, ...]:
    """Those that have not expired, and a new one if the newest has lived two thirds of its life."""
    alive = tuple(one for one in known if _read(one.certificate).not_valid_after_utc > now)
    if alive and not _is_due(now, alive[-1]):
        return alive
    return (*alive, _authority(now, lives))


def _authority(now: datetime, lives: Lives) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    words = f"hami {now:%Y-%m-%d} {x509.random_serial_number():x}"  # no two of one name: a client would try only one of them
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, words[:64])])
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    builder = (
        _begun(now, lives.authority)
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return _pem(builder.sign(key, hashes.SHA256()), key)


def _signer(now: datetime, authorities: Sequence[Pair], lives: Lives) -> Pair:
    """The newest that everybody knows; in the beginning nobody knows any, and the first has to do."""
    begun = [(_begins(_read(one.certificate)), one) for one in authorities]
    known = [one for begin, one in begun if begin + lives.announced <= now]
    return known[-1] if known else next(one for begin, one in begun if begin <= now + BACKDATED)


# --- The server's -----------------------------------------------------------------------------------------------------


def _signed(now: datetime, hosts: Sequence[str], authority: Pair, lives: Lives) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    issuer, signer = _read(authority.certificate), _key(authority.key)
    life = min(lives.leaf, issuer.not_valid_after_utc - now)
    builder = (
        _begun(now, life)
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0][:64])]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_name(host) for host in hosts]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    return _pem(builder.sign(signer, hashes.SHA256()), key)


def _serves(leaf: Pair, hosts: Sequence[str], authorities: Sequence[Pair]) -> bool:
    """Whether it is for these hosts, has its own key, and is signed by one of the authorities."""
    certificate = _read(leaf.certificate)
    named = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return (
        set(named) == {_name(host) for host in hosts}
        and certificate.public_key() == _key(leaf.key).public_key()
        and any(_has_signed(_read(one.certificate), certificate) for one in authorities)
    )


def _has_signed(authority: x509.Certificate, certificate: x509.Certificate) -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        certificate.verify_directly_issued_by(authority)
    except (InvalidSignature, ValueError):
        return False
    return True


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


# --- Times and bytes --------------------------------------------------------------------------------------------------


def _begun(now: datetime, life: timedelta) -> x509.CertificateBuilder:
    begin = now.astimezone(UTC).replace(microsecond=0)
    builder = x509.CertificateBuilder().serial_number(x509.random_serial_number())
    return builder.not_valid_before(begin - BACKDATED).not_valid_after(begin + life)


def _begins(certificate: x509.Certificate) -> datetime:
    return certificate.not_valid_before_utc + BACKDATED


def _due(pair: Pair) -> datetime:
    certificate = _read(pair.certificate)
    begin = _begins(certificate)
    return begin + (certificate.not_valid_after_utc - begin) * 2 / 3


def _is_due(now: datetime, pair: Pair) -> bool:
    """Two thirds of its life are over, or the clock that it was made by was ahead of ours."""
    return now >= _due(pair) or _begins(_read(pair.certificate)) > now + BACKDATED


def _read(certificate: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(certificate)
    except ValueError as error:
        raise WireError("certificate", "$", str(error)) from error


def _key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(pem, None)
    except (ValueError, TypeError) as error:
        raise WireError("key", "$", str(error)) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise WireError("key", "$", "is none of an elliptic curve, as ours are")
    return key


def _pem(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Pair:
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return Pair(certificate.public_bytes(serialization.Encoding.PEM), key.private_bytes(serialization.Encoding.PEM, *form))


def _cut(text: bytes) -> list[bytes]:
    """The blocks of a PEM file."""
    begin = b"-----BEGIN "
    return [begin + block for block in text.split(begin)[1:]]
