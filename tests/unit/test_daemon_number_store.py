"""Numbers on disk: what is read at a start, and what a writer leaves behind."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from corosyncd.daemon.number_store import NumberStore, StoreError, highest_expected_votes, ring_sequence


def test_a_missing_file_counts_as_zero_and_is_made(tmp_path: Path) -> None:
    stored = ring_sequence(tmp_path, 7)
    assert stored.load() == 0
    assert (tmp_path / "ringid_7").read_bytes() == bytes(8)
    assert stored.load() == 0


@pytest.mark.parametrize("content", [b"", b"\5\0", bytes(9)])
def test_a_file_of_another_length_counts_as_zero(tmp_path: Path, content: bytes) -> None:
    stored = highest_expected_votes(tmp_path)
    stored.path.write_bytes(content)
    assert stored.load() == 0
    assert stored.path.read_bytes() == bytes(4)


@pytest.mark.parametrize("number", [(1 << 64) - 1, 1 << 63, (1 << 62) + (1 << 33)])
def test_a_ring_id_that_no_ring_can_follow_is_refused_by_name(tmp_path: Path, number: int) -> None:
    stored = ring_sequence(tmp_path, 7)
    stored.path.write_bytes(struct.pack("=Q", number))
    with pytest.raises(StoreError, match=rf"ringid_7 holds {number}.*remove the file"):
        stored.load()


def test_stock_s_file_of_expected_votes_is_read(tmp_path: Path) -> None:
    (tmp_path / "ev_tracking").write_bytes(struct.pack("=I", 5))
    assert highest_expected_votes(tmp_path).load() == 5


def test_the_last_number_is_on_disk_when_the_store_is_closed(tmp_path: Path) -> None:
    stored = ring_sequence(tmp_path, 1)
    store = NumberStore(stored)
    try:
        for number in (4, 2**40):
            store.store(number)
    finally:
        store.close()
    assert stored.load() == 2**40


def test_a_store_without_its_writer_says_what_cannot_be_stored(tmp_path: Path) -> None:
    store = NumberStore(highest_expected_votes(tmp_path))
    store.close()
    with pytest.raises(StoreError, match="the expected votes cannot be stored"):
        store.store(3)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    stored = ring_sequence(tmp_path / "nosuch", 1)
    with pytest.raises(StoreError, match=r"ring id file .*nosuch"):
        stored.load()
    with pytest.raises(StoreError, match=r"ring id file .*nosuch"):
        NumberStore(stored)
