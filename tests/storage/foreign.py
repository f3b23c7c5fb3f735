"""Small foreign recordings for tests: videos with times of their own, TFRecord files made by hand."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import google_crc32c
import imagecodecs
import numpy as np


def colours(count: int, height: int = 48, width: int = 64) -> list[np.ndarray]:
    """Pictures whose left edge is bright and whose brightness tells their number."""
    made = []
    for number in range(count):
        picture = np.full((height, width, 3), 40 + 6 * (number % 30), np.uint8)
        picture[:, : width // 4] = (230, 20, 20)
        made.append(picture)
    return made


def write_clip(
    path: Path, times_ms: Sequence[int], *, rotation: int | None = None, size: tuple[int, int] = (48, 64)
) -> Path:
    """A video with a picture at each of the times; ``rotation`` is what the file asks the player to do."""
    codec = "libvpx" if path.suffix == ".webm" else "libx264"
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=30)
        stream.height, stream.width = size
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        if codec == "libx264":
            stream.options = {"crf": "12", "bf": "0"}
        if rotation is not None:
            stream.set_display_rotation(rotation)
        for at, picture in zip(times_ms, colours(len(times_ms), *size), strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = at, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def masked(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number: int, data: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(data)) + data


def example(features: dict[str, list[bytes] | np.ndarray]) -> bytes:
    """A serialized Example; numbers are packed."""
    entries = b""
    for name, value in features.items():
        if isinstance(value, list):
            feature = field(1, b"".join(field(1, item) for item in value))
        elif value.dtype.kind == "f":
            feature = field(2, field(1, value.astype("<f4").tobytes()))
        else:
            feature = field(3, field(1, b"".join(varint(int(item)) for item in value.ravel())))
        entries += field(1, field(1, name.encode()) + field(2, feature))
    return field(1, entries)


def write_records(path: Path, records: Sequence[bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    parts = []
    for data in records:
        head = struct.pack("<Q", len(data))
        parts += [head, masked(head), data, masked(data)]
    path.write_bytes(b"".join(parts))
    return path


def bridge_take(steps: int, seed: int = 0) -> dict[str, list[bytes] | np.ndarray]:
    """What a take of a set like BridgeData holds."""
    rng = np.random.default_rng(seed)
    pictures = [imagecodecs.jpeg8_encode(rng.integers(0, 255, (16, 16, 3), np.uint8)) for _ in range(steps)]
    state = np.concatenate([rng.uniform(-0.4, 0.4, (steps, 6)), rng.uniform(0, 1.02, (steps, 1))], axis=1)
    return {
        "steps/is_first": np.eye(1, steps, dtype=np.int64)[0],
        "steps/observation/image_0": pictures,
        "steps/observation/image_1": [pictures[0]] * steps,
        "steps/observation/state": state.astype(np.float32),
        "steps/action": rng.normal(size=(steps, 7)).astype(np.float32),
        "steps/language_instruction": [b"put the cup away"] * steps,
    }


def bridge_set(root: Path, takes: int = 2, name: str = "bridge_small") -> Path:
    """A folder as TensorFlow Datasets lays it out."""

    def tensor(*shape: int, dtype: str = "float32") -> dict[str, object]:
        return {"tensor": {"shape": {"dimensions": [str(side) for side in shape]}, "dtype": dtype}}

    image = {"image": {"shape": {"dimensions": ["16", "16", "3"]}, "dtype": "uint8", "encodingFormat": "jpeg"}}
    observation = {"image_0": image, "image_1": image, "state": tensor(7)}
    steps = {
        "is_first": tensor(dtype="bool"),
        "action": tensor(7),
        "observation": {"featuresDict": {"features": observation}},
        "language_instruction": {"text": {}},
    }
    features = {
        "featuresDict": {"features": {"steps": {"sequence": {"feature": {"featuresDict": {"features": steps}}}}}}
    }
    folder = root / name / "1.0.0"
    folder.mkdir(parents=True)
    (folder / "features.json").write_text(json.dumps(features))
    records = [example(bridge_take(6 + seed, seed)) for seed in range(takes)]
    write_records(folder / f"{name}-train.tfrecord-00000-of-00001", records)
    return root / name
