"""Verbs about what is on disk and attached: devices, doctor. For takes see ``cli_episodes`` and ``cli_exchange``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from storage.layout import Home
from workbench import cli_upkeep
from workbench.cli_output import Output
from workbench.cli_verbs import Verb
from workbench.services.catalogue_care import examine_catalogue
from workbench.services.devices import examine_all, list_devices
from workbench.services.settings import FILE_NAME, load_settings
from workbench.services.station_setup import Proposal, propose, write


def _devices_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--propose", action="store_true", help="show a station.toml made of what is attached")
    parser.add_argument("--write", action="store_true", help="write that station.toml; the old one is kept beside it")


def _devices(options: argparse.Namespace, output: Output) -> Mapping[str, Any]:
    settings = load_settings(_home(options))
    listed = list_devices(settings)
    if options.propose or options.write:
        return {**listed.to_json(), **_set_up(_home(options), propose(settings, listed), options.write, output)}
    found = listed.to_json()
    rows = [(noun, d["kind"], d["id"], d["status"], d["reason"]) for noun, group in found.items() for d in group]
    output.table("", ("sort", "kind", "id", "status", "why"), rows)
    return found


def _set_up(home: Path, proposal: Proposal, agreed: bool, output: Output) -> dict[str, Any]:
    """Show the proposed settings, or write them."""
    kept = write(home, proposal) if agreed else None
    output.say(f"written to {home / FILE_NAME}" if agreed else proposal.text)
    if kept is not None:
        output.say(f"the settings before are kept in {kept.name}")
    for note in proposal.notes:
        output.say(note)
    return {"proposal": proposal.text, "notes": list(proposal.notes), "changed": proposal.changed, "written": agreed}


def _doctor_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--fix", action="store_true", help="finish interrupted takes, put damaged ones aside, rebuild the catalogue"
    )


def _doctor(options: argparse.Namespace, output: Output) -> Mapping[str, Any]:
    found = examine_all(options.home, fix=options.fix)
    rows = [("ok" if c["ok"] else "!!", c["name"], c["found"], c["advice"]) for c in found["checks"]]
    output.table("", ("", "check", "found", "advice"), rows)
    found["preflight"] = cli_upkeep.report_readiness(Home(Path(found["home"])), found["checks"], output)
    for message in found["takes"]["messages"]:
        output.say(message)
    found["catalogue"] = examine_catalogue(Path(found["home"]), fix=options.fix)
    for message in found["catalogue"]["messages"]:
        output.say(message)
    found["ok"] = found["ok"] and found["catalogue"]["ok"]
    output.say("all is well" if found["ok"] else "something needs attention, see above")
    return found


def _home(options: argparse.Namespace) -> Path:
    return Home.open(options.home).path


DEVICES = Verb(_devices_arguments, _devices)
DOCTOR = Verb(_doctor_arguments, _doctor)
