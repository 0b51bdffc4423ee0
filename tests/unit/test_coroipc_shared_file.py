"""Files that clients share: what is no plain file of the client's own is refused and left where it is."""

from __future__ import annotations

import os
import resource
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from coroipc.errors import AccessDenied, CorosyncError, InvalidParameter, NoResources, NotExist
from coroipc.server import files
from coroipc.server.shared_file import SIZE_LIMIT, SharedFile

PREFIX = "corosync_zerocopy-"
SIZE = 100
OWN = os.geteuid()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A good file, of SIZE bytes."""
    path = tmp_path / f"{PREFIX}aB3dE9"
    path.write_bytes(bytes(range(SIZE)))
    return path


def take(path: Path, size: int = SIZE, uid: int = OWN) -> SharedFile:
    return SharedFile.take(os.fsencode(path), PREFIX, size, uid, str(path.parent))


@pytest.fixture(autouse=True)
def no_descriptor_leaks() -> Iterator[None]:
    before = os.listdir("/proc/self/fd")
    yield
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_a_good_file_is_read_and_written_without_its_name(path: Path) -> None:
    with path.open("rb") as owner:
        file = take(path)
        assert not path.exists()
        file.write(8, b"address!")
        assert file.read(7, 10) == b"\x07address!\x10"
        assert os.pread(owner.fileno(), 8, 8) == b"address!"
        file.close()
        file.close()


def test_a_file_that_its_owner_has_unlinked_meanwhile_is_taken_all_the_same(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = os.open

    def open_and_lose(*arguments: object, **named: object) -> int:
        descriptor = opened(*arguments, **named)  # type: ignore[arg-type]
        path.unlink()
        return descriptor

    monkeypatch.setattr(os, "open", open_and_lose)
    take(path).close()


def test_a_name_that_is_another_files_by_now_stays(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = os.open

    def open_and_swap(*arguments: object, **named: object) -> int:
        descriptor = opened(*arguments, **named)  # type: ignore[arg-type]
        path.rename(path.with_name("moved"))
        path.write_bytes(b"somebody else's")
        return descriptor

    monkeypatch.setattr(os, "open", open_and_swap)
    take(path).close()
    assert path.read_bytes() == b"somebody else's"


@pytest.mark.parametrize("name", ["aB3dE9", f"{PREFIX}aB3dE", f"{PREFIX}aB3dE99", f"{PREFIX}aB3d.9", f"{PREFIX}aB3dE9\n"])
def test_another_name_is_refused(path: Path, name: str) -> None:
    other = path.rename(path.with_name(name))
    with pytest.raises(InvalidParameter):
        take(other)
    assert other.exists()


def test_another_folder_is_refused_also_by_way_of_this_one(path: Path) -> None:
    (path.parent / "sub").mkdir()
    other = path.rename(path.parent / "sub" / path.name)
    for name in (f"{path.parent}/sub/../{path.name}", f"{path.parent}/sub/{path.name}", f"{path.parent}//sub/{path.name}", ""):
        with pytest.raises(InvalidParameter):
            SharedFile.take(os.fsencode(name), PREFIX, SIZE, OWN, str(path.parent))
    assert other.exists()


def test_a_link_is_refused(path: Path) -> None:
    target = path.rename(path.with_name("target"))
    path.symlink_to(target)
    with pytest.raises(AccessDenied):
        take(path)
    assert path.is_symlink()
    assert target.exists()


def test_another_users_file_is_refused(path: Path) -> None:
    with pytest.raises(AccessDenied):
        take(path, uid=OWN + 1)
    assert path.exists()


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
def test_what_is_no_regular_file_is_refused_at_once(path: Path, make: object) -> None:
    path.unlink()
    make(path)  # type: ignore[operator]
    with pytest.raises(CorosyncError):
        take(path)
    assert path.exists()


def test_a_missing_file_is_refused(path: Path) -> None:
    path.unlink()
    with pytest.raises(NotExist):
        take(path)


@pytest.mark.parametrize("size", [0, -1, SIZE + 1, SIZE_LIMIT + 1, 1 << 31, (1 << 64) - 1])
def test_a_file_shorter_than_claimed_and_an_impossible_size_are_refused(path: Path, size: int) -> None:
    with pytest.raises(InvalidParameter):
        take(path, size)
    assert path.exists()


def test_a_giant_file_is_refused_for_its_claim_and_a_claim_of_its_beginning_is_good(path: Path) -> None:
    os.truncate(path, 1 << 40)
    with pytest.raises(InvalidParameter):
        take(path, SIZE_LIMIT + 1)
    file = take(path, SIZE)
    with pytest.raises(InvalidParameter):
        file.read(SIZE, 1)
    file.close()


def test_a_file_that_was_cut_or_has_grown_is_read_as_far_as_both_agree(path: Path) -> None:
    with path.open("rb+") as owner:
        file = take(path)
        owner.truncate(50)
        assert file.read(40, 10) == bytes(range(40, 50))
        with pytest.raises(InvalidParameter):
            file.read(40, 11)
        owner.truncate(200)
        assert file.read(90, 10) == bytes(10)
        with pytest.raises(InvalidParameter):
            file.read(90, 11)
        file.close()


@pytest.mark.parametrize(("offset", "length"), [(-1, 2), (0, SIZE + 1), (SIZE, 1), (1 << 63, 1), (0, 1 << 63)])
def test_nothing_outside_of_the_claim_is_touched(path: Path, offset: int, length: int) -> None:
    file = take(path)
    with pytest.raises(InvalidParameter):
        file.read(offset, length)
    with pytest.raises(InvalidParameter):
        file.write(SIZE - 1, b"ab")
    file.close()


def test_cutting_and_growing_while_it_is_read_never_hurts(path: Path) -> None:
    ended = threading.Event()

    def cut_and_grow() -> None:
        with path.open("rb+") as owner:
            opened.set()
            while not ended.is_set():
                owner.truncate(0)
                owner.truncate(SIZE)

    opened = threading.Event()
    owner = threading.Thread(target=cut_and_grow)
    owner.start()
    try:
        opened.wait()
        while True:
            try:
                file = take(path)
                break
            except InvalidParameter:
                pass
        for _ in range(2000):
            try:
                assert len(file.read(0, SIZE)) == SIZE
            except InvalidParameter:
                pass
        file.close()
    finally:
        ended.set()
        owner.join()


def test_the_last_descriptors_are_not_for_clients(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (files.SPARE_DESCRIPTORS + 3, 1024))
    with pytest.raises(NoResources):
        take(path)
    assert path.exists()
