"""A few successive pictures as one independent piece: H.264, or the pictures' own compressed bytes.

Needs NumPy, PyAV and imagecodecs and nothing of ours, so that other programs can take this file (with ``zarr_video``)
and read archived takes. Layout, little-endian, see also ``docs/format.md``:

    4s   magic "CLV1"
    c    kind: "h" H.264 (Annex B), "j" JPEG files, "z" zstd of the raw pixels
    B    channels of a picture: 1 (H, W) or 3 (H, W, 3); always uint8
    HHH  number of pictures, height, width
    then per packet, in the order to decode: I size, H number of the picture, H 1 if no other picture needs it
    then the packets

In H.264 every piece begins with a key picture. Three of four others are B pictures that nothing refers to, so that one
picture in the middle costs a few packets, not all before it. Colour is BT.601 full range, as in JPEG; odd sides are
padded by repeating the edge, and cut off again.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any

import av
import imagecodecs
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from numpy.typing import NDArray

MAGIC = b"CLV1"
H264, JPEG, ZSTD = b"h", b"j", b"z"
LONGEST = 1024  # pictures
_HEAD = struct.Struct("<4scBHHH")
_PACKET = np.dtype([("size", "<u4"), ("picture", "<u2"), ("alone", "<u2")])
_SMALLEST_SIDE_PX = 16
_FULL_CHROMA_BELOW_PX = 320 * 240
_RATE = Fraction(30)  # H.264 wants one; times are stored elsewhere
_TO_YCC = np.array(
    [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32
)  # ITU-R BT.601 as in JFIF
_OFFSET = np.array([1.0, 128.5, 128.5], np.float32)  # a half each because conversion to bytes rounds down
_X264 = "b-adapt=0:b-pyramid=none:open-gop=0:threads=1"


def encode_video(pictures_NHWC: NDArray[np.uint8], crf: int) -> bytes:
    """Pictures (N, H, W, 3) RGB or (N, H, W) grey, uint8, as one piece of H.264. ``crf``: 0 best .. 51."""
    count, height, width = pictures_NHWC.shape[:3]
    channels = 3 if pictures_NHWC.ndim == 4 else 1
    pad = [(0, max(side + side % 2, _SMALLEST_SIDE_PX) - side) for side in (height, width)]
    padded = np.pad(pictures_NHWC, [(0, 0), *pad, (0, 0)][: pictures_NHWC.ndim], mode="edge")
    encoder = _encoder(padded.shape[2], padded.shape[1], channels, count, crf)
    packets = [
        packet for number, picture in enumerate(padded) for packet in encoder.encode(_frame(picture, number, encoder))
    ]
    packets += encoder.encode(None)
    return _pack(
        H264,
        (count, height, width, channels),
        [(_without_sei(bytes(packet)), packet.pts, _is_alone(bytes(packet))) for packet in packets],
    )


def pack_stored(kind: bytes, payloads: Sequence[bytes], shape: tuple[int, ...]) -> bytes:
    """Pictures that are compressed already (``JPEG`` or ``ZSTD``) as one piece, byte for byte."""
    channels = 3 if len(shape) == 3 else 1
    return _pack(kind, (len(payloads), shape[0], shape[1], channels), [(p, k, True) for k, p in enumerate(payloads)])


class Piece:
    """The pictures of one piece. Decodes on demand and keeps nothing but what ``pictures`` was asked for.

    Args:
        data: what ``encode_video`` or ``pack_stored`` gave.
        shape: (H, W, 3) or (H, W) of one picture, as the reader expects it.

    Raises:
        ValueError: the bytes are broken or of pictures of another shape; also from the methods.
    """

    def __init__(self, data: bytes, shape: tuple[int, ...]) -> None:
        if len(data) < _HEAD.size:
            raise ValueError("a piece of video is too short")
        magic, self.kind, channels, self.count, height, width = _HEAD.unpack_from(data)
        if magic != MAGIC or self.kind not in (H264, JPEG, ZSTD) or not 0 < self.count <= LONGEST:
            raise ValueError("this is no piece of video")
        if tuple(shape) != ((height, width, 3) if channels == 3 else (height, width)):
            raise ValueError(f"a piece of video has pictures of {height}x{width} with {channels} channels")
        self._shape = tuple(shape)
        table_end = _HEAD.size + self.count * _PACKET.itemsize
        if len(data) < table_end:
            raise ValueError("a piece of video is too short")
        self._table = np.frombuffer(data, _PACKET, self.count, _HEAD.size)
        ends = table_end + np.cumsum(self._table["size"], dtype=np.int64)
        if int(ends[-1]) != len(data) or sorted(self._table["picture"]) != list(range(self.count)):
            raise ValueError("the table of a piece of video is wrong")
        self._packets = [data[end - size : end] for size, end in zip(self._table["size"].tolist(), ends.tolist())]
        self._place = {int(number): place for place, number in enumerate(self._table["picture"])}

    def picture(self, number: int) -> NDArray[np.uint8]:
        """One picture, a fresh array; decodes only what it needs. IndexError outside the piece."""
        if not 0 <= number < self.count:
            raise IndexError(f"the piece has {self.count} pictures, not a picture {number}")
        place = self._place[number]
        if self.kind != H264:
            return self._stored(place)
        needed = [k for k in range(place) if not self._table["alone"][k]] + [place]
        return self._decode(needed, {number})[number]

    def pictures(self) -> list[NDArray[np.uint8]]:
        """All pictures in order, fresh arrays."""
        if self.kind != H264:
            return [self._stored(self._place[number]) for number in range(self.count)]
        found = self._decode(range(self.count), set(range(self.count)))
        return [found[number] for number in range(self.count)]

    def _stored(self, place: int) -> NDArray[np.uint8]:
        out = np.empty(self._shape, np.uint8)
        data = self._packets[place]
        try:
            if self.kind == JPEG:
                imagecodecs.jpeg8_decode(data, out=out)
            elif len(imagecodecs.zstd_decode(data, out=out.reshape(-1).data)) != out.nbytes:
                raise ValueError("it has too few bytes")
        except (RuntimeError, ValueError) as error:
            raise ValueError(f"a stored picture cannot be decoded ({error})") from error
        return out

    def _decode(self, places: Iterable[int], wanted: set[int]) -> dict[int, NDArray[np.uint8]]:
        decoder = av.CodecContext.create("h264", "r")
        decoder.thread_count = 1
        pixels = math.prod(-(-side // 64) * 64 for side in self._shape[:2])  # the decoder aligns its rows
        decoder.options = {"max_pixels": str(pixels), "err_detect": "explode"}
        found: dict[int, NDArray[np.uint8]] = {}
        try:
            for place in places:
                packet = av.Packet(self._packets[place])
                packet.pts, packet.dts = int(self._table["picture"][place]), place
                self._collect(decoder.decode(packet), wanted, found)
            self._collect(decoder.decode(None), wanted, found)
        except (av.error.FFmpegError, OSError) as error:
            raise ValueError(f"a piece of video cannot be decoded ({error})") from error
        if wanted - set(found):
            raise ValueError("a piece of video lacks a picture")
        return found

    def _collect(self, frames: Iterable[Any], wanted: set[int], found: dict[int, NDArray[np.uint8]]) -> None:
        height, width = self._shape[:2]
        for frame in frames:
            if frame.pts not in wanted:
                continue
            if frame.height < height or frame.width < width:
                raise ValueError(f"a piece of video holds pictures of {frame.height}x{frame.width}")
            if len(self._shape) == 2:
                pixels = frame.to_ndarray() if frame.format.name == "gray" else frame.to_ndarray(format="gray")
            else:
                pixels = frame.reformat(
                    format="rgb24", src_colorspace=Colorspace.ITU601, src_color_range=ColorRange.JPEG
                ).to_ndarray()
            found[frame.pts] = np.ascontiguousarray(pixels[:height, :width])


def _encoder(width: int, height: int, channels: int, count: int, crf: int) -> Any:
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height = width, height
    chroma = "yuv444p" if width * height < _FULL_CHROMA_BELOW_PX else "yuv420p"
    encoder.pix_fmt = chroma if channels == 3 else "gray"
    encoder.time_base, encoder.framerate = 1 / _RATE, _RATE
    encoder.color_range, encoder.colorspace = ColorRange.JPEG.value, Colorspace.ITU601.value
    encoder.thread_count = 1
    encoder.options = {
        **{"crf": str(crf), "preset": "veryfast", "tune": "fastdecode", "bf": "3"},
        **{"g": str(count + 1), "sc_threshold": "0", "x264-params": _X264},
    }
    return encoder


def _frame(picture: NDArray[np.uint8], number: int, encoder: Any) -> Any:
    planes = picture if picture.ndim == 2 else _planes(picture, halve_chroma=encoder.pix_fmt == "yuv420p")
    frame = av.VideoFrame.from_ndarray(planes, format=encoder.pix_fmt)
    frame.pts, frame.time_base = number, 1 / _RATE
    return frame


def _planes(picture_HW3: NDArray[np.uint8], *, halve_chroma: bool) -> NDArray[np.uint8]:
    """Y, Cb, Cr as FFmpeg lays them out; (3, H, W), or (H * 3 / 2, W) with a quarter of the chroma.

    Not by FFmpeg itself, whose conversion to full range loses half a level of chroma everywhere. Its quick way back
    rounds down, therefore half a level more of Y.
    """
    ycc_3HW = np.tensordot(_TO_YCC, picture_HW3.astype(np.float32), axes=(1, 2)) + _OFFSET[:, None, None]
    if not halve_chroma:
        return _bytes(ycc_3HW)
    height, width = picture_HW3.shape[:2]
    chroma = ycc_3HW[1:].reshape(2, height // 2, 2, width // 2, 2).mean((2, 4))
    whole = np.concatenate([ycc_3HW[0].ravel(), chroma.ravel()])
    return _bytes(whole).reshape(-1, width)


def _bytes(levels: NDArray[np.float32]) -> NDArray[np.uint8]:
    whole: NDArray[np.uint8] = np.clip(levels, 0, 255).astype(np.uint8)
    return whole


def _pack(kind: bytes, size: tuple[int, int, int, int], packets: Sequence[tuple[bytes, int, bool]]) -> bytes:
    count, height, width, channels = size
    if not 0 < count <= LONGEST or len(packets) != count:
        raise ValueError(f"a piece of video holds 1 to {LONGEST} pictures, not {count} ({len(packets)} packets)")
    table = np.array([(len(data), number, alone) for data, number, alone in packets], _PACKET)
    head = _HEAD.pack(MAGIC, kind, channels, count, height, width)
    return b"".join((head, table.tobytes(), *(data for data, _, _ in packets)))


def _units(packet: bytes) -> list[bytes]:
    """The NAL units of an Annex B packet, without start codes (Rec. ITU-T H.264, annex B)."""
    return [unit.rstrip(b"\0") for unit in packet.split(b"\0\0\1")[1:]]


def _without_sei(packet: bytes) -> bytes:
    """Leaves out remarks of the encoder about itself (NAL type 6): 0.7 kB in front of every key picture."""
    return b"".join(b"\0\0\1" + unit for unit in _units(packet) if unit and unit[0] & 0x1F != 6)


def _is_alone(packet: bytes) -> bool:
    """True if no other picture refers to this one (nal_ref_idc 0)."""
    return all(unit[0] & 0x60 == 0 for unit in _units(packet) if unit and unit[0] & 0x1F in (1, 5))
