"""Tones: what is played is what an ear tells apart, and a machine without sound is simply silent."""

from __future__ import annotations

import io
import os
import stat
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ui import cues
from ui.cues import FAULT, RATE_HZ, TONES, Cues, Player, to_wav, tone
from ui.preferences import Preferences


def loudest_hz(samples: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum)) * RATE_HZ / len(samples)


@pytest.mark.parametrize("name", list(TONES))
def test_a_tone_is_a_sound_file_of_the_notes_asked_for(name: str) -> None:
    with wave.open(io.BytesIO(to_wav(tone(TONES[name])))) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, RATE_HZ)
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(float)
    begin = 0
    for hz, seconds in TONES[name]:
        part = samples[begin : begin + round(seconds * RATE_HZ)]
        begin += len(part)
        if hz:
            assert abs(loudest_hz(part) - hz) < 1.5 / seconds
            assert abs(part[0]) < 300 and abs(part[-1]) < 300 and part.max() > 8000, "begins and ends without a click"
        else:
            assert not part.any()
    assert begin == len(samples) and len(samples) < 1.5 * RATE_HZ


@pytest.fixture
def player(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A player on the path that keeps what it is given; returns the folder of what it played."""
    played = tmp_path / "played"
    played.mkdir()
    program = tmp_path / "aplay"
    program.write_text(f'#!/bin/sh\ncp "$2" {played}/$(ls {played} | wc -l)-$(basename "$2")\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(cues, "_has_sound_card", lambda: True)
    return played


def test_of_cues_that_wait_the_last_is_played_and_a_fault_always(player: Path, choices: Preferences) -> None:
    waiting: list[Callable[[], None]] = []
    made = Cues(choices, waiting.append)
    made.play("tick")
    assert waiting == [], "muted"
    made.mute(False)
    for name in ("tick", FAULT, "start"):
        made.play(name)
    assert len(waiting) == 1
    waiting.pop()()
    made.play("start")
    waiting.pop()()
    assert sorted(path.name for path in player.iterdir()) == ["0-fault.wav", "1-start.wav"]
    assert (player / "1-start.wav").read_bytes() == to_wav(tone(TONES["start"]))
    made.close()
    choices.flush()
    assert not Cues(Preferences(), waiting.append).muted, "the choice is kept"


def test_without_a_player_or_with_one_that_fails_there_is_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    lonely = Player()
    lonely.play("start")
    assert lonely.silent
    program = tmp_path / "aplay"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setattr(cues, "_has_sound_card", lambda: True)
    failing = Player()
    failing.play("start")
    assert not failing.silent, "once may be chance"
    failing.play("start")
    assert failing.silent
    failing.close()
