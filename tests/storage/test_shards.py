from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.codecs import ZstdCodec
from storage.shards import FrameReader, FrameWriter, pack_shard, shard_name, unpack_index
from tests.storage.takes import DEPTH, item
from workbench.core.errors import CorruptTakeError


@settings(max_examples=50, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=40), max_size=12), st.integers(0, 5))
def test_index_finds_every_payload(tmp_path_factory: pytest.TempPathFactory, payloads: list[bytes], free: int) -> None:
    path = tmp_path_factory.mktemp("shard") / "c.0"
    places = max(len(payloads) + free, 1)
    path.write_bytes(pack_shard(payloads, places))
    with open(path, "rb") as file:
        index = unpack_index(file.fileno(), places)
        for place, payload in enumerate(payloads):
            offset, size = (int(value) for value in index[place])
            assert os.pread(file.fileno(), size, offset) == payload
    assert np.all(index[len(payloads) :] == 2**64 - 1)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_flipped_bit_of_the_index_is_noticed(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    whole = bytearray(pack_shard([b"abc", b"defg"], 4))
    at = data.draw(st.integers(7 * 8, len(whole) * 8 - 1))
    whole[at // 8] ^= 1 << at % 8
    path = tmp_path_factory.mktemp("shard") / "c.0"
    path.write_bytes(whole)
    with open(path, "rb") as file, pytest.raises(CorruptTakeError):
        unpack_index(file.fileno(), 4)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 5), st.lists(st.sampled_from(["add", "save"]), max_size=25))
def test_every_saved_picture_is_readable_at_any_time(
    tmp_path_factory: pytest.TempPathFactory, per_shard: int, steps: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("stream") / DEPTH.name
    writer = FrameWriter(folder, DEPTH, ZstdCodec(), per_shard, sync=False)
    count = 0
    for step in [*steps, "save"]:
        if step == "add":
            writer.add(item(DEPTH, count))
            count += 1
        else:
            writer.save()
            reader = FrameReader(folder, DEPTH, ZstdCodec(), per_shard, count)
            for index in range(count):
                np.testing.assert_array_equal(reader.read(index), item(DEPTH, index))
            with pytest.raises(IndexError):
                reader.read(count)
            reader.close()


def test_a_link_instead_of_a_shard_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / DEPTH.name
    writer = FrameWriter(folder, DEPTH, ZstdCodec(), 4, sync=False)
    writer.add(item(DEPTH, 0))
    writer.save()
    shard = folder / shard_name(0, 2)
    shard.rename(tmp_path / "elsewhere")
    shard.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CorruptTakeError):
        FrameReader(folder, DEPTH, ZstdCodec(), 4, 1).read(0)


def test_a_reader_that_nobody_closed_keeps_no_file_open(tmp_path: Path) -> None:
    folder = tmp_path / DEPTH.name
    writer = FrameWriter(folder, DEPTH, ZstdCodec(), 2, sync=False)
    for k in range(6):
        writer.add(item(DEPTH, k))
    writer.save()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        reader = FrameReader(folder, DEPTH, ZstdCodec(), 2, 6)
        for k in range(6):
            reader.read(k)
    del reader
    assert len(list(Path("/proc/self/fd").iterdir())) <= before
