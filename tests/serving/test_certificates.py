"""Certificates of our own: what they are good for, when they are renewed, and that everybody's bundle trusts what is served."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from attrs import evolve
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError
from hypothesis import given
from hypothesis import strategies as st

from hami_core.errors import WireError
from hami_core.serving import certificates
from hami_core.serving.certificates import Lives, Material, Pair, renewed

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
HOSTS = ("hami-webhook.hami.svc", "10.0.0.7", "fd00::7")
LIVES = Lives()
DAY = timedelta(days=1)


def trusts(bundle: bytes, leaf: bytes, now: datetime, host: str = HOSTS[0]) -> bool:
    """Whether a client with this bundle takes this certificate for the host."""
    roots = Store(x509.load_pem_x509_certificates(bundle))
    verifier = PolicyBuilder().store(roots).time(now).build_server_verifier(x509.DNSName(host))
    try:
        verifier.verify(x509.load_pem_x509_certificate(leaf), [])
    except VerificationError:
        return False
    return True


def test_the_first_material_is_an_authority_and_a_certificate_for_the_hosts() -> None:
    made = renewed(NOW, HOSTS, None, LIVES)

    leaf = x509.load_pem_x509_certificate(made.leaf.certificate)
    named = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert named.get_values_for_type(x509.DNSName) == [HOSTS[0]]
    assert [str(ip) for ip in named.get_values_for_type(x509.IPAddress)] == list(HOSTS[1:])
    assert trusts(made.bundle, made.leaf.certificate, NOW)
    assert not trusts(made.bundle, made.leaf.certificate, NOW, "another.svc")
    assert certificates.expires(made.leaf.certificate) == NOW + LIVES.leaf


def test_nothing_changes_before_it_is_due() -> None:
    made = renewed(NOW, HOSTS, None, LIVES)

    assert certificates.due(made) == NOW + 60 * DAY
    assert renewed(NOW + 60 * DAY - timedelta(seconds=1), HOSTS, made, LIVES) is made


def test_after_two_thirds_of_its_life_the_certificate_is_renewed_and_the_authority_stays() -> None:
    made = renewed(NOW, HOSTS, None, LIVES)

    later = renewed(NOW + 60 * DAY, HOSTS, made, LIVES)

    assert later.authorities == made.authorities
    assert later.leaf != made.leaf
    assert trusts(made.bundle, later.leaf.certificate, NOW + 60 * DAY)


def test_a_new_authority_is_announced_before_it_signs() -> None:
    made = renewed(NOW, HOSTS, None, LIVES)
    then = NOW + 250 * DAY

    later = renewed(then, HOSTS, made, LIVES)

    assert len(later.authorities) == 2
    assert later.authorities[0] == made.authorities[0]
    assert trusts(made.bundle, later.leaf.certificate, then)


def test_a_certificate_is_never_valid_for_longer_than_its_authority() -> None:
    made = renewed(NOW, HOSTS, None, LIVES)

    late = renewed(NOW + 300 * DAY, HOSTS, made, LIVES)

    assert certificates.expires(late.leaf.certificate) <= certificates.expires(made.authorities[0].certificate)


@given(steps=st.lists(st.integers(1, 59), min_size=1, max_size=12))
def test_whoever_looks_at_least_every_two_months_has_a_bundle_that_trusts_what_is_served(steps: list[int]) -> None:
    """The bundle of one step before is what an API server trusts that has not heard yet; that of the next, one in a hurry."""
    now, material = NOW, renewed(NOW, HOSTS, None, LIVES)
    for days in steps:
        now += days * DAY
        later = renewed(now, HOSTS, material, LIVES)

        assert trusts(material.bundle, later.leaf.certificate, now)
        assert trusts(later.bundle, later.leaf.certificate, now)
        if certificates.expires(material.leaf.certificate) > now:
            assert trusts(later.bundle, material.leaf.certificate, now)
        material = later


def test_what_has_expired_long_ago_is_made_anew() -> None:
    made = renewed(NOW, HOSTS, None, LIVES)

    after = renewed(NOW + 3000 * DAY, HOSTS, made, LIVES)

    assert made.authorities[0] not in after.authorities
    assert trusts(after.bundle, after.leaf.certificate, NOW + 3000 * DAY)


def test_a_clock_that_was_ahead_does_not_leave_a_certificate_of_the_future() -> None:
    made = renewed(NOW + 900 * DAY, HOSTS, None, LIVES)

    back = renewed(NOW, HOSTS, made, LIVES)

    assert trusts(back.bundle, back.leaf.certificate, NOW)


def test_other_hosts_get_a_certificate_of_the_same_authority() -> None:
    made = renewed(NOW, HOSTS, None, LIVES)

    moved = renewed(NOW, ("other.svc",), made, LIVES)

    assert moved.authorities == made.authorities
    assert trusts(made.bundle, moved.leaf.certificate, NOW, "other.svc")


def test_a_certificate_of_a_strangers_authority_is_replaced() -> None:
    made, other = renewed(NOW, HOSTS, None, LIVES), renewed(NOW, HOSTS, None, LIVES)

    mended = renewed(NOW, HOSTS, Material(made.authorities, other.leaf), LIVES)

    assert trusts(made.bundle, mended.leaf.certificate, NOW)


def test_a_certificate_with_anothers_key_is_replaced() -> None:
    made, other = renewed(NOW, HOSTS, None, LIVES), renewed(NOW, HOSTS, None, LIVES)

    mended = renewed(NOW, HOSTS, evolve(made, leaf=Pair(made.leaf.certificate, other.leaf.key)), LIVES)

    assert mended.leaf.certificate != made.leaf.certificate


@pytest.mark.parametrize("damaged", [Pair(b"nonsense", b"nonsense"), Pair(b"", b"")], ids=["nonsense", "nothing"])
def test_what_cannot_be_read_is_an_error_and_not_a_new_authority(damaged: Pair) -> None:
    made = renewed(NOW, HOSTS, None, LIVES)

    with pytest.raises(WireError):
        renewed(NOW, HOSTS, evolve(made, authorities=(damaged,)), LIVES)


def test_authorities_are_written_and_read_one_after_the_other() -> None:
    made = renewed(NOW + 250 * DAY, HOSTS, renewed(NOW, HOSTS, None, LIVES), LIVES)

    read = certificates.pairs(made.bundle, b"".join(one.key for one in made.authorities))

    assert read == made.authorities
    with pytest.raises(WireError, match="2 certificates and 1 keys"):
        certificates.pairs(made.bundle, made.authorities[0].key)
