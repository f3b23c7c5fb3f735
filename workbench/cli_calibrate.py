"""The verb that finds out where a camera is, and whether it still is there."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from storage.layout import Home
from workbench.cli_output import Output
from workbench.cli_verbs import Verb, positive
from workbench.core.errors import WorkbenchError
from workbench.services.calibration_shelf import Shelf
from workbench.services.settings import load_settings

LEAST = 6


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--camera", metavar="NAME", help="the camera's name in the station's settings")
    parser.add_argument("--wrist", action="store_true", help="the camera moves with the arm; the board lies still")
    parser.add_argument("--simulated-board", action="store_true", help="simulated station: the arm moves by itself")
    parser.add_argument("--views", type=positive, default=16, help="pictures to take with --simulated-board")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--print-board", type=Path, metavar="PNG", help="write the board as a picture to print")
    parser.add_argument("--square-mm", type=float, default=40.0, help="edge of a square, measured on the print")
    parser.add_argument(
        "--check", action="store_true", help="has a camera moved since its reference picture was taken?"
    )
    parser.add_argument("--remember", action="store_true", help="with --check: take the reference pictures anew")


def _calibrate(options: argparse.Namespace, output: Output) -> Mapping[str, Any]:
    if options.print_board:
        return _print(options, output)
    home = Home.open(options.home).path
    if options.check:
        return _check(home, options, output)
    if not options.camera:
        raise WorkbenchError("no camera is named", "Add --camera NAME; `devices` lists them")
    calibration, errors = _simulated(options, output) if options.simulated_board else _by_hand(home, options, output)
    saved = calibration.save(home)
    shelf = Shelf(home)
    result = {name: value for name, value in saved.items() if name not in ("pose", "board")}
    result |= {"pose": saved["pose"], **errors, "file": str(shelf.path(saved["serial"]))}
    rows = [(name, value) for name, value in result.items() if name != "pose"]
    output.table("", ("", ""), rows)
    return result


def _simulated(options: argparse.Namespace, output: Output) -> tuple[Any, dict[str, float]]:
    if options.camera not in ("front", "wrist"):
        raise WorkbenchError(f"the simulated station has no camera '{options.camera}'", "Its cameras: front, wrist")
    if options.views < LEAST:
        raise WorkbenchError(f"{options.views} pictures are too few", f"Take at least {LEAST}")
    rig = importlib.import_module("workbench.services.calibration_rig")
    with output.progress(f"calibrating {options.camera}") as step:
        result: tuple[Any, dict[str, float]] = rig.calibrate_simulated(
            options.camera, options.views, options.seed, step
        )
    return result


def _by_hand(home: Path, options: argparse.Namespace, output: Output) -> tuple[Any, dict[str, float]]:
    settings = load_settings(home)
    if settings.simulated:
        raise WorkbenchError("there is no board on the simulated table", "Add --simulated-board")
    if not sys.stdin.isatty():
        raise WorkbenchError("calibrating a real camera needs a person at a terminal", "Start it in a terminal")
    rig = importlib.import_module("workbench.services.calibration_rig")

    def again(taken: Any) -> bool:
        if taken is not None:
            output.note("taken" if taken.accepted else "the board was not seen well enough")
            output.note(f"{taken.views} pictures. {taken.advice or 'Enough: enter q'}")
        return input("move the arm, let it stand still, then Enter (q: solve) ").strip().lower() != "q"

    mount = "tool" if options.wrist else "base"
    return rig.calibrate_by_hand(settings, options.camera, mount, _board(options), again), {}


def _board(options: argparse.Namespace) -> Any:
    board = importlib.import_module("hardware.charuco").Board
    default = {field.name: field.default for field in fields(board)}
    share = options.square_mm / 1000.0 / default["square_m"]
    if not 0.1 <= share <= 10.0:
        raise WorkbenchError(
            f"squares of {options.square_mm:g} mm are not usable", "Give --square-mm between 4 and 400"
        )
    return board(square_m=default["square_m"] * share, marker_m=default["marker_m"] * share)


def _print(options: argparse.Namespace, output: Output) -> Mapping[str, Any]:
    board = _board(options)
    cv2 = importlib.import_module("hardware.charuco").vision()
    if not cv2.imwrite(str(options.print_board), board.picture()):
        raise WorkbenchError(f"{options.print_board} cannot be written", "Give a path that ends in .png")
    output.say(f"print {options.print_board} without scaling, then measure a square and say so with --square-mm")
    return {"file": str(options.print_board), "width_mm": 1000 * board.size_m[0], "height_mm": 1000 * board.size_m[1]}


def _check(home: Path, options: argparse.Namespace, output: Output) -> Mapping[str, Any]:
    settings = load_settings(home)
    watch = importlib.import_module("workbench.services.camera_watch")
    results = watch.check_station(home, settings, remember=options.remember, only=options.camera)
    output.table("", ("camera", "verdict", "shift px", "turn deg", "confidence"), [line.row() for line in results])
    return {"cameras": [line.to_json() for line in results]}


CALIBRATE = Verb(_arguments, _calibrate)
