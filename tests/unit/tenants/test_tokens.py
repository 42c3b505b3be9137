"""JWTs: what is taken, and every way in which one is not."""

import base64
import dataclasses
import hashlib
import hmac
import json
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from services.common.clock import ManualClock
from services.common.domain import ServiceClass
from services.common.errors import BadSetting, KeysUnavailable, Unauthenticated
from services.common.limits import DEFAULTS
from services.gateway.tenants.key_set import KeySet, read_key_set
from tests.unit.tenants.issuer import (
    EC,
    OTHER_RSA,
    RSA,
    SETTINGS,
    claims,
    document,
    jwk,
    key_set,
    token,
    verifier,
)


def encoded(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def refusal(text: str, **more: Any) -> str:
    """Why a token is refused."""
    verify, _ = verifier(**more)
    with pytest.raises(Unauthenticated) as refused:
        verify.verify(text)
    return refused.value.message


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
def test_a_good_token_names_its_tenant(algorithm: str):
    verify, _ = verifier()
    verified = verify.verify(token(algorithm))
    assert verified.tenant == "acme"
    assert verified.service_class is None
    assert verified.expires_s == pytest.approx(time.time() + 330, abs=10)


def test_claims_for_tenant_and_class_are_configurable_and_may_be_nested():
    settings = dataclasses.replace(SETTINGS, tenant_claim="org.id", class_claim="https://x.test/tier")
    verify, _ = verifier(settings)
    text = token(tenant=None, org={"id": "deep"}, **{"https://x.test/tier": "interactive"})
    verified = verify.verify(text)
    assert (verified.tenant, verified.service_class) == ("deep", ServiceClass.INTERACTIVE)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"exp": int(time.time()) - 3600}, "expired"),
        ({"exp": None}, "exp"),
        ({"exp": "soon"}, "exp"),
        ({"exp": float("inf")}, "not valid"),
        ({"exp": float("nan")}, "not valid"),
        ({"exp": 1e308}, "year 9999"),
        ({"exp": 10**400}, "year 9999"),
        ({"exp": 10**12}, "year 9999"),
        ({"exp": [1]}, "not valid"),
        ({"exp": {"at": 1}}, "not valid"),
        ({"nbf": float("inf")}, "not valid"),
        ({"nbf": [1]}, "not valid"),
        ({"iat": float("inf")}, "not valid"),
        ({"iat": {}}, "not valid"),
        ({"nbf": int(time.time()) + 3600}, "not yet valid"),
        ({"iat": int(time.time()) + 3600}, "not yet valid"),
        ({"aud": "others"}, "udience"),
        ({"aud": None}, "aud"),
        ({"aud": {"pdmesh": 1}}, "format"),
        ({"iss": "https://evil.test"}, "issuer"),
        ({"iss": None}, "iss"),
        ({"tenant": None}, "names no tenant"),
        ({"tenant": ""}, "names no tenant"),
        ({"tenant": ["acme"]}, "names no tenant"),
        ({"tenant": "a\nb"}, "names no tenant"),
        ({"tenant": "a" * 200}, "names no tenant"),
        ({"service_class": "root"}, "names no class"),
    ],
)
def test_a_token_with_a_wrong_claim_is_refused(changes: dict[str, Any], why: str):
    assert why in refusal(token(**changes))


def test_the_clock_may_be_off_by_the_skew_and_no_more():
    now = int(time.time())
    verify, _ = verifier()
    assert verify.verify(token(exp=now - 10)).tenant == "acme"
    assert verify.verify(token(nbf=now + 20, iat=now + 20)).tenant == "acme"
    assert "expired" in refusal(token(exp=now - 40))
    assert "not yet valid" in refusal(token(nbf=now + 45))
    assert "expired" in refusal(token(exp=now - 10), settings=dataclasses.replace(SETTINGS, clock_skew_ms=0))


def test_a_forged_signature_is_refused():
    assert "ignature" in refusal(token(key=OTHER_RSA))
    head, body, signature = token().split(".")
    assert "ignature" in refusal(f"{head}.{encoded(claims(tenant='evil'))}.{signature}")
    assert "ignature" in refusal(f"{head}.{body}.")
    assert "ignature" in refusal(f"{head}.{body}.{token(tenant='b').split('.')[2]}")


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "", None, 5, ["RS256"]])
def test_a_token_without_a_signature_is_refused(algorithm: Any):
    head = encoded({"alg": algorithm, "kid": "RS256", "typ": "JWT"})
    for signature in ("", "x" * 8):
        refusal(f"{head}.{encoded(claims())}.{signature}")


@pytest.mark.parametrize("encoding", ["PEM", "DER"])
def test_a_public_key_is_no_hmac_secret(encoding: str):
    """The classic confusion: HS256 with the public key, which everybody knows, as its secret."""
    secret = RSA.public_key().public_bytes(
        getattr(serialization.Encoding, encoding), serialization.PublicFormat.SubjectPublicKeyInfo
    )
    head, body = encoded({"alg": "HS256", "kid": "RS256"}), encoded(claims())
    signature = hmac.new(secret, f"{head}.{body}".encode(), hashlib.sha256).digest()
    assert "only RS256 and ES256" in refusal(f"{head}.{body}.{encoded(signature)}")


def test_a_key_is_used_with_its_own_algorithm_alone():
    assert "alg" in refusal(token("RS256", kid="ES256"))
    assert "alg" in refusal(token("ES256", kid="RS256"))
    assert "only" in refusal(jwt.encode(claims(), RSA, algorithm="RS512", headers={"kid": "RS256"}))
    assert "only" in refusal(jwt.encode(claims(), RSA, algorithm="PS256", headers={"kid": "RS256"}))


def test_keys_that_a_token_brings_are_not_looked_at():
    more = {"kid": "RS256", "jwk": jwk(OTHER_RSA, "RS256"), "jku": "https://evil.test/keys"}
    assert "ignature" in refusal(jwt.encode(claims(), OTHER_RSA, algorithm="RS256", headers=more))


def test_what_a_token_declares_critical_is_not_passed_over():
    more = {"kid": "RS256", "crit": ["exp"], "exp": 1}
    assert "not valid" in refusal(jwt.encode(claims(), RSA, algorithm="RS256", headers=more))


@pytest.mark.parametrize(
    "text",
    [
        "..",
        "a.b.c",
        "e30.e30.e30",
        "\udcff.\udcff.\udcff",
        "ä.ö.ü",
        encoded(b"[" * 6_000) + ".e30.e30",
        "=.=.=",
    ],
)
def test_what_is_no_token_is_refused(text: str):
    assert "not valid" in refusal(text)


@given(st.text(max_size=200), st.text(max_size=200), st.text(max_size=200))
def test_nothing_but_a_refusal_comes_of_nonsense(head: str, body: str, signature: str):
    refusal(f"{head}.{body}.{signature}")


def test_a_token_without_a_key_id_needs_a_set_of_one_key():
    one = read_key_set(document(jwk(RSA, "only")), "k")
    verify, _ = verifier(keys=one)
    assert verify.verify(token(kid=None)).tenant == "acme"
    verify, live = verifier()
    live._fetched_ms = live._clock.now_ms()  # just fetched
    with pytest.raises(Unauthenticated):
        verify.verify(token(kid=None))


def test_an_unknown_key_id_causes_a_fetch_at_a_bounded_rate():
    clock = ManualClock(1e6)
    verify, live = verifier(clock=clock)
    live._fetched_ms = clock.now_ms()
    with pytest.raises(Unauthenticated, match="no key of that id"):
        verify.verify(token(kid="new"))
    assert not live._asked.is_set()
    clock.advance(10_000)
    with pytest.raises(KeysUnavailable) as later:
        verify.verify(token(kid="new"))
    assert live._asked.is_set()
    assert later.value.retry_after_ms == 1_000
    live._asked.clear()
    live._fetched_ms = clock.now_ms()
    clock.advance(9_000)
    for number in range(100):
        with pytest.raises(Unauthenticated):
            verify.verify(token(kid=f"new-{number}"))
    assert not live._asked.is_set()


def test_before_the_first_fetch_a_token_can_come_again():
    verify, live = verifier(keys=KeySet())
    live._fetched_ms = live._clock.now_ms()
    with pytest.raises(KeysUnavailable):
        verify.verify(token())


def test_a_verified_token_is_remembered_until_it_expires():
    now = [time.time()]
    verify, _ = verifier(wall=lambda: now[0])
    text = token()
    first = verify.verify(text)
    assert verify.verify(text) is first
    now[0] += 400
    assert verify.verify(text) is not first  # looked at anew, by the real clock


def test_a_token_whose_key_was_withdrawn_is_forgotten():
    verify, live = verifier()
    text = token()
    verify.verify(text)
    live.current, live.version = read_key_set(document(jwk(EC, "ES256"), jwk(OTHER_RSA, "x")), "k"), 1
    live._fetched_ms = live._clock.now_ms()
    with pytest.raises(Unauthenticated):
        verify.verify(text)


def test_an_expired_token_is_not_taken_from_memory():
    now = int(time.time())
    wall = [float(now - 100)]
    verify, _ = verifier(wall=lambda: wall[0])
    text = token(exp=now - 25)  # within the skew of 30 s, for a few seconds
    assert verify.verify(text).tenant == "acme"
    wall[0] = now + 6.0
    verify._wall = lambda: wall[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verify, "_verify", lambda _: (_ for _ in ()).throw(Unauthenticated("looked at anew")))
        with pytest.raises(Unauthenticated, match="anew"):
            verify.verify(text)


def test_a_long_token_is_refused_before_it_is_looked_at():
    assert "longer than" in refusal(token(more="x" * 10_000))
    assert "longer than" in refusal("x" * 10_000 + ".x.x")


def test_memory_of_tokens_is_bounded():
    verify, _ = verifier(limits=dataclasses.replace(DEFAULTS, verified_tokens_max=3))
    for number in range(10):
        verify.verify(token("ES256", tenant=f"t{number}"))
    assert len(verify._verified) == 3


def test_only_public_signing_keys_of_enough_bits_are_used():
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    other_curve = ec.generate_private_key(ec.SECP384R1())
    entries = [
        jwk(weak, "weak"),
        jwk(other_curve, "curve"),
        jwk(RSA, "encrypts", use="enc"),
        jwk(RSA, "pss", alg="PS256"),
        {"kty": "oct", "kid": "hmac", "k": "c2VjcmV0"},
        {"kty": "RSA", "kid": "broken", "n": "!", "e": "AQAB"},
        {"kty": "RSA", "kid": "empty"},
        {"kty": ["RSA"], "kid": "odd"},
        jwk(RSA, "good", use="sig", alg="RS256"),
        jwk(OTHER_RSA, "good"),
    ]
    keys = read_key_set(document(*entries, "nonsense"), "k").keys
    assert set(keys) == {"good"}
    assert keys["good"].key.public_numbers() == RSA.public_key().public_numbers()


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"{}", b'{"keys": 5}', b'{"keys": []}', b"[" * 100_000, b"\xff"]
)
def test_what_is_no_key_set_is_refused(text: bytes):
    with pytest.raises(BadSetting, match=r"keys\.json"):
        read_key_set(text, "keys.json")


def test_a_private_key_in_a_key_set_is_not_used():
    private = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(RSA)) | {"kid": "oops"}
    with pytest.raises(BadSetting):
        read_key_set(document(private), "keys.json")


def test_key_set_has_both_keys():
    assert {name: key.algorithm for name, key in key_set().keys.items()} == {
        "RS256": "RS256",
        "ES256": "ES256",
    }
