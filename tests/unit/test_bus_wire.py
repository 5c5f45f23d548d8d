"""A wake-up as bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.bus.wire import decode, encode
from shared.domain import JobId, JobKind, WakeUp
from shared.errors import Invalid


@given(st.sampled_from(JobKind), st.integers(min_value=-(2**63), max_value=2**63 - 1))
def test_what_is_encoded_is_decoded(kind: JobKind, job_id: int) -> None:
    wakeup = WakeUp(kind=kind, job_id=JobId(job_id))
    assert decode(encode(wakeup)) == wakeup


@given(st.binary(max_size=200))
def test_any_bytes_are_a_wakeup_or_invalid(body: bytes) -> None:
    try:
        decode(body)
    except Invalid as error:
        assert "not a wake-up" in str(error)


def test_a_key_of_a_newer_version_is_ignored() -> None:
    assert decode(b'{"kind": "train", "job_id": 1, "trace": "x"}') == WakeUp(kind=JobKind.TRAIN, job_id=JobId(1))


@pytest.mark.parametrize("body", [b'{"kind": "train", "job_id": true}', b'{"kind": "train", "job_id": 1.5}', b"null"])
def test_what_looks_like_a_wakeup_but_is_none_is_invalid(body: bytes) -> None:
    with pytest.raises(Invalid):
        decode(body)
