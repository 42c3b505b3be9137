"""API keys: what is kept of them, and how they are compared."""

import hashlib
import hmac

import pytest

from services.common.credentials import KeyRecord, key_id, new_key


def test_a_key_matches_its_record_and_no_other():
    key, other = new_key(), new_key()
    record = KeyRecord.parse(str(KeyRecord.of(key)))
    assert record.matches(key)
    assert not record.matches(other)
    assert not record.matches(key[:-1])
    assert not record.matches("")
    assert not record.matches("\udcff")


def test_the_record_is_a_hash_of_the_key_and_holds_nothing_else_of_it():
    key = new_key()
    record = str(KeyRecord.of(key))
    assert record == f"pdm1:{key_id(key)}:{hashlib.sha256(key.encode()).hexdigest()}"
    assert key.rpartition("_")[2] not in record


def test_keys_have_256_random_bits_and_are_never_the_same():
    secrets = {new_key().split("_", 2)[2] for _ in range(1_000)}
    assert len(secrets) == 1_000
    assert {len(secret) for secret in secrets} == {43}  # of 6 bits each


def test_keys_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch):
    compared = []

    def compare(left: bytes, right: bytes) -> bool:
        compared.append((left, right))
        return False

    monkeypatch.setattr(hmac, "compare_digest", compare)
    key = new_key()
    record = KeyRecord.of(key)
    assert not record.matches(key), "it was compared in another way"
    assert compared == [(record.digest, record.digest)]


@pytest.mark.parametrize(
    "text",
    ["", "pdm1", "pdm2:0123456789ab:" + "0" * 64, "pdm1:0123456789ab:" + "0" * 63, "pdm1:xyz:" + "0" * 64],
)
def test_what_is_no_record_is_refused(text: str):
    with pytest.raises(ValueError, match="pdm1"):
        KeyRecord.parse(text)


def test_a_key_in_the_place_of_its_record_is_not_repeated():
    key = new_key()
    with pytest.raises(ValueError, match="record") as refused:
        KeyRecord.parse(key)
    assert key not in str(refused.value)
