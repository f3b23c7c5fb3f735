"""Every command of the window, declared once: its words, its keys, where it lives and when it makes sense."""

from __future__ import annotations

from ui.situation import Command, Situation
from ui.translate import LANGUAGES


def _recording(s: Situation) -> bool:
    return s.running and s.recorder == "recording"


def _judgeable(s: Situation) -> bool:
    """A take is being recorded, or the last one can still get its label."""
    return _recording(s) or (s.fresh and s.recorder in ("idle", "faulted") and not s.counting)


def _can_start(s: Situation) -> bool:
    free = s.recorder in ("idle", "faulted") and not s.playing and not s.counting
    return s.running and free and s.has_task


def _moving(s: Situation) -> bool:
    return s.running and s.driver in ("driving", "correcting")


def _can_drive(s: Situation) -> bool:
    free = s.recorder != "recording"  # an attempt that is held goes on by Resume, or ends by Park or Stop
    return s.running and free and s.driver in ("parked", "ready", "holding") and s.has_model and s.has_task


def _attempting(s: Situation) -> bool:
    return s.running and s.recorder == "recording" and s.driver in ("driving", "holding", "correcting")


def _labelable(s: Situation) -> bool:
    return s.takes > 0 and not s.trash


def _markable(s: Situation) -> bool:
    return s.open_take and s.takes == 1 and not s.trash


def _at_rest(s: Situation) -> bool:
    """Nothing is being recorded and nothing moves."""
    return s.recorder in ("idle", "faulted") and s.driver not in ("driving", "correcting") and not s.playing


COMMANDS: tuple[Command, ...] = (
    Command("page.record", "Record", ("Ctrl+1",), "", "Record takes of people and of the robot", checkable=True),
    Command("page.library", "Library", ("Ctrl+2",), "", "Look through, label and clean up takes", checkable=True),
    Command("page.align", "Align", ("Ctrl+3",), "", "One vocabulary for people's video and the robot", checkable=True),
    Command("page.finetune", "Fine-tune", ("Ctrl+4",), "", "Teach a model new takes; train stages", checkable=True),
    Command("page.drive", "Drive", ("Ctrl+5",), "", "Let a policy drive, under your eyes", checkable=True),
    Command("page.models", "Models", ("Ctrl+6",), "", "Where models come from, how good they are", checkable=True),
    Command("page.station", "Station", ("Ctrl+7",), "", "Devices, their health and the settings", checkable=True),
    Command("view.system", "Follow the system", (), "", "Light or dark as the desktop says", checkable=True),
    Command("view.light", "Light", (), "", "Dark words on a light ground", checkable=True),
    Command("view.dark", "Dark", (), "", "Light words on a dark ground", checkable=True),
    Command("view.language_system", "As the system", (), "", "The language of the desktop, else English",
            checkable=True),
    Command("view.language_en", LANGUAGES["en"], (), "", "The window in English", checkable=True),
    Command("view.language_zh_CN", LANGUAGES["zh_CN"], (), "", "The window in Simplified Chinese", checkable=True),
    *(Command(f"view.size_{percent}", f"{percent} %", (), "", hint, checkable=True) for percent, hint in (
        (100, "The usual size"), (125, "A quarter larger"), (150, "Half as large again: to be read from two metres"),
        (200, "Twice as large"))),
    Command("view.next_theme", "Light / dark", ("Ctrl+T",), "", "Switch between light and dark"),
    Command("app.notices", "Messages", ("F8",), "", "Everything that was said, to read afterwards", checkable=True),
    Command("app.notices_copy", "Copy the message", ("Shift+F8",), "", "To the clipboard, with what to do next",
            lambda s: s.reading == "notices"),
    Command("app.about", "About this station", ("F1",), "", "Versions, machine, devices and settings", checkable=True),
    Command("app.about_copy", "Copy for a report", ("Shift+F1",), "", "To the clipboard; nothing secret is in it",
            lambda s: s.reading == "about"),
    Command("app.mute", "No sounds", ("Ctrl+M",), "", "Be silent; remembered", checkable=True),
    Command("app.quit", "Quit", ("Ctrl+Q",), "", "Stop the station and close"),
    Command("app.retry", "Start the station again", ("F5",), "", "After a failed start", lambda s: not s.running),
    Command(
        "drive.stop", "Stop", ("Esc",), "", "Stop the arm now; works on every page",
        lambda s: s.running and s.driver != "stopped", role="bad", urgent=True,
    ),
    Command("record.start", "Start take", ("Return", "Enter"), "record", "Start recording", _can_start, role="primary"),
    Command("record.success", "Keep: success", ("Right", "Y"), "record",
            "End the take: it worked; or label the last one", _judgeable, "good"),
    Command("record.failure", "Keep: failure", ("Down", "N"), "record",
            "End the take: it failed; or label the last one", _judgeable, "bad"),
    Command("record.keep", "Keep, label later", ("Up", "U"), "record", "End the take without a label", _recording),
    Command("record.discard", "Discard", ("Left", "Backspace", "X"), "record",
            "Throw this take, or the last one, into the trash; take back a start",
            lambda s: _judgeable(s) or s.counting),
    Command(
        "record.play", "Let the simulated operator do it", ("Ctrl+P",), "record",
        "The simulated hand or operator does the task once, recorded as a take",
        lambda s: _can_start(s) and s.simulated and not s.practice,
    ),
    Command("record.countdown", "Count down", ("Ctrl+U",), "record",
            "Takes begin three seconds after the key; remembered", checkable=True),
    Command("record.practice", "Practice", ("Ctrl+E",), "record",
            "Everything as always, but nothing is kept", lambda s: s.recorder != "recording" and not s.counting,
            checkable=True),
    Command("record.next_task", "Next task", ("PgDown",), "record", "Choose the next task of the list",
            lambda s: s.recorder != "recording" and not s.counting),
    Command("record.task_before", "Task before", ("PgUp",), "record", "Choose the task before it in the list",
            lambda s: s.recorder != "recording" and not s.counting),
    Command("record.ghost", "Reference picture", ("Ctrl+G",), "record",
            "Lay the first picture of an earlier take over the live one, to set the scene", lambda s: s.has_task,
            checkable=True),
    Command("record.ghost_other", "Another reference", ("Ctrl+Shift+G",), "record", "Take the one before it",
            lambda s: s.ghost),
    Command("record.pedal", "Learn the pedal", ("Ctrl+F",), "record",
            "Then press the foot pedal that starts and stops takes", lambda s: s.recorder != "recording"),
    Command("record.pedal_success", "Learn a second pedal", ("Ctrl+Shift+F",), "record",
            "Then press the foot pedal that means success", lambda s: s.recorder != "recording"),
    Command("record.pedal_forget", "Forget the pedals", (), "record", "Their keys mean nothing any more",
            lambda s: s.pedal),
    Command("record.setup", "Use my devices", ("Ctrl+Shift+S",), "record",
            "See what is attached, and settings for it to read before anything is written", _at_rest),
    Command("record.hide_steps", "Hide these steps", ("Ctrl+Shift+H",), "record", "They are not shown again"),
    Command(
        "record.reset", "Set the table again", ("Ctrl+R",), "record", "Put the simulated objects back, elsewhere",
        lambda s: s.running and s.simulated and s.recorder != "recording" and s.has_task and not s.playing,
    ),
    Command(
        "record.steer", "Steer with the keyboard", ("Ctrl+K",), "record", "Move the arm with the keys while this is on",
        lambda s: s.running and s.driver != "stopped", checkable=True,
    ),
    Command("record.depth", "Show depth", ("Ctrl+D",), "record", "Show what the depth camera measures", checkable=True),
    Command("record.human", "A person's hand", ("Ctrl+H",), "record", "Takes of a person, the arm is out of the way",
            lambda s: s.recorder != "recording", checkable=True),
    Command("record.robot", "The robot", ("Ctrl+J",), "record", "Takes of the robot, steered by an operator",
            lambda s: s.recorder != "recording", checkable=True),
    Command("library.play", "Play", ("Space",), "library", "Play or pause",
            lambda s: s.open_take and s.asking != "really", checkable=True),  # where Space answers the question
    Command("library.back", "One picture back", (",",), "library", "Step back", lambda s: s.open_take),
    Command("library.forward", "One picture on", (".",), "library", "Step forward", lambda s: s.open_take),
    Command("library.details", "Details", ("D",), "library", "Quality in sentences, marks, models; or the signals",
            checkable=True),
    Command("library.success", "Success", ("S",), "library", "Label the chosen takes", _labelable, role="good"),
    Command("library.failure", "Failure", ("F",), "library", "Label the chosen takes", _labelable, role="bad"),
    Command("library.unlabel", "No label", ("U",), "library", "Take the label away", _labelable),
    Command("library.tag", "Tag", ("T",), "library", "Put a tag on the chosen takes", _labelable),
    Command("library.untag", "Untag", ("Shift+T",), "library", "Take a tag off the chosen takes", _labelable),
    Command("library.collect", "Collect", ("C",), "library", "Put the chosen takes into a collection", _labelable),
    Command("library.uncollect", "Out of a collection", ("Shift+C",), "library",
            "Take the chosen takes out of a collection", _labelable),
    Command("library.freeze", "Freeze", ("Ctrl+Shift+F",), "library",
            "Write down the chosen takes as a snapshot that never changes", _labelable),
    Command("library.mark_in", "In", ("I",), "library", "Use the take from here on; nothing is cut off", _markable),
    Command("library.mark_out", "Out", ("O",), "library", "Use the take up to here; nothing is cut off", _markable),
    Command("library.unmark", "Use all", ("X",), "library", "Take the trim marks away", _markable),
    Command("library.split", "Split here", ("Ctrl+K",), "library", "Make two takes of it; can be undone", _markable),
    Command("library.merge", "Merge", ("Ctrl+J",), "library", "Make one take of those that follow one another",
            lambda s: s.takes > 1 and not s.trash),
    Command("library.trash", "To the trash", ("Del",), "library", "Nothing is deleted", _labelable),
    Command("library.restore", "Restore", ("Shift+Del",), "library", "Bring back from the trash",
            lambda s: s.takes > 0 and s.trash),
    Command("library.purge", "Remove for good", ("Ctrl+Shift+Del",), "library",
            "Asks first: the chosen takes of the trash can then not be brought back",
            lambda s: s.takes > 0 and s.trash and s.asking != "really", role="bad"),
    Command("library.agree", "Yes, for good", ("Ctrl+Return",), "library", "Yes: this cannot be undone",
            lambda s: s.asking == "really", role="bad"),
    Command("library.leave", "Back", ("Ctrl+Backspace",), "library", "Forget the question",
            lambda s: s.asking != ""),
    Command("library.undo", "Undo", ("Ctrl+Z",), "library", "Take back the last change of a take"),
    Command("library.redo", "Redo", ("Ctrl+Shift+Z",), "library", "Do again what was undone last"),
    Command("library.show_trash", "Trash", ("Ctrl+B",), "library", "Show what was thrown away", checkable=True),
    Command("library.search", "Search", ("Ctrl+F",), "library", "Find takes by their words"),
    Command("library.clear", "Show all", ("Ctrl+0",), "library", "Clear the search and all filters"),
    Command("library.models", "Its models", ("M",), "library", "The newest model that learnt from it or drove it",
            lambda s: s.open_take),
    Command("library.check", "Check the file", ("Ctrl+E",), "library", "Compare the take with its fingerprint",
            lambda s: s.open_take),
    Command("library.import", "Import", ("Ctrl+I",), "library", "Bring in videos, data sets, takes of other stations"),
    Command("library.export", "Export", ("Ctrl+Shift+E",), "library", "Write takes for other programs and stations"),
    Command("library.compare", "Compare", ("Ctrl+D",), "library", "Lay the two chosen takes side by side",
            lambda s: s.takes == 2),
    Command("library.blur", "Blur faces", ("B",), "library",
            "Look for faces in the chosen takes, then blur them; the takes as they were go to the trash", _labelable),
    Command("library.look", "Look first", ("Ctrl+L",), "library", "Say what would come or go; nothing is written",
            lambda s: s.exchange in ("idle", "planned", "done")),
    Command("library.go", "Do it", ("Ctrl+G",), "library", "Import, export or blur what was looked at",
            lambda s: s.exchange == "planned", role="primary"),
    Command("library.stop", "Stop", ("Ctrl+.",), "library", "End it; what is half done is removed",
            lambda s: s.exchange in ("looking", "working"), role="warn"),
    Command("library.show_result", "Show it", ("Ctrl+R",), "library", "The new takes, or the new folder",
            lambda s: s.exchange == "done"),
    Command("library.close_panel", "Back to the take", ("Ctrl+W",), "library", "Close the panel; work in it goes on",
            lambda s: s.panel != ""),
    Command("align.start", "Start aligning", ("Ctrl+Return",), "align",
            "Train the vocabulary, then the reading of video", lambda s: s.jobs_ready, role="primary"),
    Command("align.cancel", "Cancel", ("Ctrl+.",), "align", "Stop the alignment; it can be resumed",
            lambda s: s.job in ("queued", "running")),
    Command("align.resume", "Resume", ("Ctrl+R",), "align", "Go on where it stood",
            lambda s: s.job in ("failed", "cancelled")),
    Command("align.training", "Training", ("T",), "align", "Curves, and how many codes are in use", checkable=True),
    Command("align.figures", "Figures", ("F",), "align", "How well it went, measured on held-out takes",
            checkable=True),
    Command("align.clips", "Clips", ("N",), "align", "People's clips beside the nearest robot takes", checkable=True),
    Command("align.map", "Map", ("M",), "align", "The latents of people and robots on a plane", checkable=True),
    Command("align.previous", "Clip before", ("Left",), "align", "The clip of a person before", lambda s: s.clips),
    Command("align.next", "Next clip", ("Right",), "align", "The next clip of a person", lambda s: s.clips),
    Command("align.colour", "By person", ("P",), "align", "Colour the map by whose pictures they are; or by direction",
            lambda s: s.report, checkable=True),
    Command("align.explain", "Measure", ("Ctrl+E",), "align", "Measure the chosen alignment on held-out takes again",
            lambda s: s.model_chosen),
    Command("align.copy", "Copy", ("Ctrl+C",), "align", "Put the figures into the clipboard", lambda s: s.report),
    Command("align.open", "Open report", ("Ctrl+O",), "align", "The whole report in the browser",
            lambda s: s.report),
    Command("finetune.start", "Fine-tune", ("Ctrl+Return",), "finetune", "Learn what is new and check what was lost",
            lambda s: s.jobs_ready, role="primary"),
    Command("finetune.options", "Options", ("Ctrl+O",), "finetune", "Which takes, how long, how hard to hold on",
            checkable=True),
    Command("finetune.tick", "Take or leave", ("Ctrl+Space",), "finetune", "Learn from the chosen take, or not",
            lambda s: s.listing),
    Command("finetune.pause", "Pause", ("Ctrl+H",), "finetune", "Let the chosen training rest; once more: it goes on",
            lambda s: s.job in ("queued", "running", "paused"), checkable=True),
    Command("finetune.cancel", "Cancel", ("Ctrl+.",), "finetune", "Stop the chosen training; it can be resumed",
            lambda s: s.job in ("queued", "running", "paused")),
    Command("finetune.resume", "Resume", ("Ctrl+R",), "finetune", "Go on from the last checkpoint",
            lambda s: s.job in ("failed", "cancelled")),
    Command("finetune.promote", "Put into use", ("Ctrl+P",), "finetune",
            "Make the new model the one that is offered first", lambda s: s.model_chosen, role="good"),
    Command("finetune.retry", "Try again, holding on harder", ("Ctrl+Shift+R",), "finetune",
            "Once more with more rehearsal and stronger matching", lambda s: s.tuned),
    Command("finetune.rollback", "Roll back", ("Ctrl+Z",), "finetune", "Use the model again that was in use before",
            lambda s: s.tuned),
    Command("drive.start", "Start", ("Return", "Enter"), "drive", "Let the model drive", _can_drive, "primary"),
    Command("drive.hold", "Hold", ("Space",), "drive", "Stay where it is, with power", _moving, "warn", urgent=True),
    Command("drive.resume", "Resume", ("R",), "drive", "Let the policy go on",
            lambda s: s.running and s.driver == "holding"),
    Command("drive.correct", "Take over", ("Ctrl+K",), "drive", "Steer with the keyboard; recorded as a correction",
            lambda s: s.running and s.driver in ("driving", "holding", "correcting", "ready"), checkable=True),
    Command("drive.park", "Park", ("P",), "drive", "Go home slowly and stay there",
            lambda s: s.running and s.driver in ("ready", "driving", "holding", "correcting")),
    Command("drive.clear", "Clear the stop", ("Ctrl+Shift+C",), "drive", "You looked: the reason is gone",
            lambda s: s.running and s.driver == "stopped", role="warn"),
    Command("drive.reset", "Set the table again", ("Ctrl+R",), "drive", "Put the simulated objects back, elsewhere",
            lambda s: s.running and s.simulated and s.driver not in ("driving", "correcting") and s.has_task),
    Command("drive.success", "It worked", ("Right",), "drive", "End the attempt: success", _attempting, "good"),
    Command("drive.failure", "It failed", ("Down",), "drive", "End the attempt: failure", _attempting, "bad"),
    Command("drive.note", "Note", ("N",), "drive", "Keep the words below with this moment of the attempt", _attempting),
    Command("drive.change", "Change task", ("T",), "drive", "Do the chosen task from now on", _attempting),
    Command("drive.save_last", "Save the last 30 s", ("Ctrl+S",), "drive",
            "Nobody recorded it: make a take of what has just happened",
            lambda s: s.running and s.recorder == "idle" and s.has_task),
    Command("drive.series", "Trial series", ("Ctrl+Return",), "drive",
            "Both models on the same scenes, in an order drawn by lot, without telling which one drives",
            lambda s: s.running and s.has_model and s.has_task and s.driver != "stopped", checkable=True),
    Command("models.promote", "Put into use", ("Ctrl+P",), "models", "The model that is offered first for its stage",
            lambda s: s.model_chosen, role="primary"),
    Command("models.rollback", "Roll back", ("Ctrl+R",), "models", "Use the model again that was in use before",
            lambda s: s.model_chosen),
    Command("models.mark", "Call it A", ("M",), "models", "The one to compare others with; once more: none",
            lambda s: s.model_chosen),
    Command("models.compare", "Compare with A", ("C",), "models", "A and the chosen model side by side",
            lambda s: s.marked),
    Command("models.open", "Open the take", ("Return", "Enter"), "models", "Look at the chosen drive in the library",
            lambda s: s.rollout and not s.asking),
    Command("models.export", "Export", ("Ctrl+E",), "models", "Write the model into a folder of its own",
            lambda s: s.model_chosen and not s.exporting),
    Command("models.export_onnx", "With ONNX", ("Ctrl+Shift+E",), "models",
            "Write it with its network for other programs, compared with the original",
            lambda s: s.model_chosen and not s.exporting),
    Command("models.cancel", "Cancel", ("Ctrl+.",), "models", "End the export; nothing is left behind",
            lambda s: s.exporting),
    Command("models.delete", "To the trash", ("Del",), "models", "Nothing is deleted; asks where others need it",
            lambda s: s.model_chosen and not s.asking),
    Command("models.undo", "Bring it back", ("Ctrl+Z",), "models", "The model thrown away last", lambda s: s.undoable),
    Command("models.agree", "Yes, all the same", ("Ctrl+Return",), "models", "Yes: to the trash",
            lambda s: s.asking == "really", role="bad"),
    Command("models.leave", "Back", ("Ctrl+Backspace",), "models", "Forget the question or the comparison",
            lambda s: s.asking != "" or s.comparing),
    Command("station.look", "Look again", ("Ctrl+L",), "station", "Search devices and check what could spoil a take",
            lambda s: not s.looking and _at_rest(s), role="primary"),
    Command("station.moved", "Have cameras moved?", ("Ctrl+I",), "station",
            "Compare each camera's picture with its reference", lambda s: s.running and s.cameras and _at_rest(s)),
    Command("station.remember", "They stand right", ("Ctrl+Shift+I",), "station",
            "Make the present pictures the references", lambda s: s.running and s.cameras and _at_rest(s)),
    Command("station.propose", "Propose settings", ("Ctrl+P",), "station",
            "A station.toml from what is attached, to read before anything is written",
            lambda s: not s.looking and not s.proposal and _at_rest(s)),
    Command("station.agree", "Write these settings", ("Ctrl+Return",), "station",
            "Write station.toml; the file before is kept beside it", lambda s: s.proposal == "new", role="primary"),
    Command("station.leave", "Back", ("Ctrl+Backspace",), "station", "Write nothing", lambda s: s.proposal != ""),
    Command("station.restart", "Restart the station", ("Ctrl+F5",), "station",
            "Stop it and start it with the settings as they are on disk", lambda s: s.running and _at_rest(s)),
)  # fmt: skip

# A title with ">" is a menu inside another one.
MENUS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("&Station", ("app.retry", "drive.stop", "drive.clear", "-",
                  *(c.id for c in COMMANDS if c.page == "station"), "-", "app.quit")),
    ("&View", ("page.record", "page.library", "page.align", "page.finetune", "page.drive", "page.models",
               "page.station", "-",
               "view.system", "view.light", "view.dark", "view.next_theme", "-", "app.mute")),
    ("&View>&Size", ("view.size_100", "view.size_125", "view.size_150", "view.size_200")),
    ("&View>&Language", ("view.language_system", "-", "view.language_en", "view.language_zh_CN")),
    ("&Record", tuple(c.id for c in COMMANDS if c.page == "record")),
    ("&Library", tuple(c.id for c in COMMANDS if c.page == "library")),
    ("&Align", tuple(c.id for c in COMMANDS if c.page == "align")),
    ("&Fine-tune", tuple(c.id for c in COMMANDS if c.page == "finetune")),
    ("&Drive", tuple(c.id for c in COMMANDS if c.page == "drive" and c.id != "drive.clear")),
    ("&Models", tuple(c.id for c in COMMANDS if c.page == "models")),
    ("&Help", ("app.notices", "app.notices_copy", "-", "app.about", "app.about_copy")),
)  # fmt: skip
