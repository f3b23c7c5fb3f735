"""The QR code of the page's address, read by somebody else's reader."""

from __future__ import annotations

import numpy as np
import pytest

from hardware.headset.qr import qr_grid, qr_text

LONG = "https://lab-machine-with-a-long-name.local:8443/#"


TEXTS = ("https://10.0.0.5:8443/#k3Jx", "https://192.168.100.100:8443/#cKLxFgz5Wjib6", LONG + "x" * 20, LONG + "y" * 50)


@pytest.mark.parametrize("text", TEXTS)
def test_a_reader_reads_it(text):
    cv2 = pytest.importorskip("cv2")
    picture = np.kron(np.pad(~qr_grid(text), 4, constant_values=True), np.ones((8, 8))).astype(np.uint8) * 255
    assert cv2.QRCodeDetector().detectAndDecode(picture)[0] == text


def test_the_text_has_a_quiet_zone_and_two_rows_per_line():
    lines = qr_text("https://10.0.0.5:8443/#k3Jx").split("\n")
    assert len({len(line) for line in lines}) == 1 and len(lines) == (len(lines[0]) + 1) // 2
    assert set(lines[0]) == set(lines[1]) == {"\u2588"}, "light all around"


def test_what_does_not_fit_is_said():
    with pytest.raises(ValueError, match="do not fit"):
        qr_grid("x" * 107)
