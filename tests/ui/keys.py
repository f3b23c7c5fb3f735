"""The page of keys, made from the table of commands:  python -m tests.ui.keys > docs/keys.md"""

from __future__ import annotations

from ui.actions import COMMANDS, Command

TITLES = {
    "": "Everywhere",
    "record": "Record (Ctrl+1)",
    "library": "Library (Ctrl+2)",
    "align": "Align (Ctrl+3)",
    "finetune": "Fine-tune (Ctrl+4)",
    "drive": "Drive (Ctrl+5)",
    "models": "Models (Ctrl+6)",
    "station": "Station (Ctrl+7)",
}
HEAD = """# Every command and its keys

Keys work inside the window only. Everything can be done without a mouse; what makes no sense now is greyed.
Esc stops the arm on every page.
"""


def row(command: Command) -> str:
    """One line of a table."""
    return f"| {command.text} | {' or '.join(f'`{key}`' for key in command.keys) or 'menu'} | {command.hint} |"


def render() -> str:
    """The whole page."""
    parts = [HEAD]
    for page, title in TITLES.items():
        rows = [row(command) for command in COMMANDS if command.page == page]
        parts.append("\n".join([f"## {title}\n", "| command | keys | what it does |", "|---|---|---|", *rows, ""]))
    return "\n".join(parts)


if __name__ == "__main__":
    print(render(), end="")
