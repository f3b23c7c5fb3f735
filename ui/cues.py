"""Short tones for what an operator must know without looking: countdown, start, stop, saved, thrown away, fault.

The tones are made here and played by the system's own player (PipeWire, PulseAudio, ALSA or macOS), in a thread of
their own. Without a player or a sound card there is silence and nothing else.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tempfile
import threading
import wave
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ui.preferences import Preferences

RATE_HZ = 22_050
MUTED = "sound.muted"
FAULT = "fault"
_FADE_S = 0.008
_LOUDNESS = 0.35
_LONGEST_S = 3.0
_GIVE_UP_AFTER = 2
TONES: dict[str, tuple[tuple[float, float], ...]] = {  # (Hz, s) one after the other; 0 Hz is a rest
    "tick": ((660.0, 0.07),),
    "start": ((880.0, 0.22),),
    "stop": ((520.0, 0.16),),
    "saved": ((660.0, 0.09), (880.0, 0.09), (1100.0, 0.16)),
    "thrown": ((520.0, 0.1), (390.0, 0.2)),
    FAULT: ((240.0, 0.18), (0.0, 0.07), (240.0, 0.18), (0.0, 0.07), (240.0, 0.3)),
}
_PLAYERS = (("pw-play",), ("paplay",), ("aplay", "-q"), ("afplay",))
Post = Callable[[Callable[[], None]], None]


class Cues:
    """Plays tones by name; the choice to be silent is kept. Any thread.

    Args:
        post: runs a call beside the window's thread, in order.
    """

    def __init__(self, preferences: Preferences, post: Post) -> None:
        self._preferences, self._post = preferences, post
        self._player = Player()
        self._lock, self._waiting = threading.Lock(), ""

    @property
    def muted(self) -> bool:
        return self._preferences.get(MUTED, False)

    def mute(self, on: bool) -> None:
        """Be silent from now on, or no longer; remembered."""
        self._preferences.keep(MUTED, on)

    def play(self, name: str) -> None:
        """Play one of ``TONES``. Of several that wait only the last is played, but a fault is never left out."""
        if self.muted or self._player.silent:
            return
        with self._lock:
            before = self._waiting
            self._waiting = before if before == FAULT else name
        if not before:
            self._post(self._play_waiting)

    def _play_waiting(self) -> None:
        with self._lock:
            name, self._waiting = self._waiting, ""
        self._player.play(name)

    def close(self) -> None:
        """Remove the files of the tones."""
        self._player.close()


class Player:
    """The system's player, found when first needed. One thread at a time.

    Attributes:
        silent: there is no player, or it failed repeatedly: nothing is tried any more.
    """

    def __init__(self) -> None:
        self.silent = False
        self._command: tuple[str, ...] | None = None
        self._failures = 0
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def play(self, name: str) -> None:
        """Play a tone to its end; silently gives up where nothing can be heard. Blocks for the tone's length."""
        if self._command is None:
            self._command = find_player()
            self.silent = not self._command
        if self.silent:
            return
        try:
            done = subprocess.run(
                [*self._command, str(self._file(name))],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=_LONGEST_S,
                check=False,
            )
            failed = done.returncode != 0
        except (OSError, subprocess.SubprocessError):
            failed = True
        self._failures = self._failures + 1 if failed else 0
        self.silent = self._failures >= _GIVE_UP_AFTER

    def close(self) -> None:
        """Remove the tones' files."""
        if self._folder is not None:
            with suppress(OSError):
                self._folder.cleanup()
            self._folder = None

    def _file(self, name: str) -> Path:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="clap-tones-", ignore_cleanup_errors=True)
        path = Path(self._folder.name) / f"{name}.wav"
        if not path.exists():
            path.write_bytes(to_wav(tone(TONES[name])))
        return path


def find_player() -> tuple[str, ...]:
    """The command that plays a file of sound, () where there is none or no sound card it could use."""
    if sys.platform == "linux" and not (_has_sound_card() or shutil.which("pactl")):
        return ()
    return next((command for command in _PLAYERS if shutil.which(command[0])), ())


def tone(parts: tuple[tuple[float, float], ...]) -> NDArray[np.int16]:
    """(N,) 16-bit samples at ``RATE_HZ``: pure tones that fade in and out, so that nothing clicks."""
    return np.concatenate([_note(hz, seconds) for hz, seconds in parts])


def to_wav(samples: NDArray[np.int16]) -> bytes:
    """The bytes of a mono WAV file."""
    with io.BytesIO() as buffer:
        with wave.open(buffer, "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(RATE_HZ)
            file.writeframes(samples.astype("<i2").tobytes())
        return buffer.getvalue()


def _note(hz: float, seconds: float) -> NDArray[np.int16]:
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    fade = np.clip(np.minimum(time_s, seconds - time_s) / _FADE_S, 0.0, 1.0)
    return np.round(32767 * _LOUDNESS * fade * np.sin(2 * np.pi * hz * time_s)).astype(np.int16)


def _has_sound_card() -> bool:
    try:
        return any(line[:2].strip().isdigit() for line in Path("/proc/asound/cards").read_text().splitlines())
    except OSError:
        return False
