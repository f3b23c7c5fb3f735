"""Names, tags, flags, devices, sets of takes, training runs, models, events; one index for every page of takes"""

from __future__ import annotations

import hashlib

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_KEYS = ("task_key", "operator_key", "scene_key", "station_key", "words_key", "tags_key", "flags_key")
_PAGE = ["trashed", "id", "kind", "outcome", "rate_ok", "duration_s", "started_at", "quality_version", *_KEYS]
_OLD_INDEXES = ("kind", "outcome", "started_at", "task", "trashed")


def upgrade() -> None:
    _make_tables()
    with op.batch_alter_table("episodes", schema=None) as batch_op:
        for name in _OLD_INDEXES:
            batch_op.drop_index(batch_op.f(f"ix_episodes_{name}"))
        batch_op.add_column(sa.Column("rate_ok", sa.Boolean(), nullable=False, server_default=sa.true()))
        batch_op.add_column(sa.Column("quality_version", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("recorded_hash", sa.String(length=64), nullable=False, server_default=""))
        for name in _KEYS:
            batch_op.add_column(sa.Column(name, _KEY, nullable=False, server_default="0"))
        # Empty stamps make the catalogue read every manifest again when it is next opened.
        batch_op.add_column(sa.Column("stamp", sa.String(length=80), nullable=False, server_default=""))
    with op.batch_alter_table("edits", schema=None) as batch_op:
        batch_op.add_column(sa.Column("undone", sa.Boolean(), nullable=False, server_default=sa.false()))
    _fill(op.get_bind())
    with op.batch_alter_table("episodes", schema=None) as batch_op:
        for name in ("rate_ok", "recorded_hash", *_KEYS, "stamp"):
            batch_op.alter_column(name, server_default=None)
        batch_op.create_index("ix_episodes_page", _PAGE, unique=False)
    with op.batch_alter_table("edits", schema=None) as batch_op:
        batch_op.alter_column("undone", server_default=None)


def downgrade() -> None:
    with op.batch_alter_table("edits", schema=None) as batch_op:
        batch_op.drop_column("undone")
    op.execute(sa.text("DELETE FROM edits"))  # the old program does not understand the steps of the new one
    for name in _CHILDREN_FIRST:
        op.drop_table(name)
    with op.batch_alter_table("episodes", schema=None) as batch_op:
        batch_op.drop_index("ix_episodes_page")
        for name in ("rate_ok", "quality_version", "recorded_hash", *_KEYS, "stamp"):
            batch_op.drop_column(name)
    with op.batch_alter_table("episodes", schema=None) as batch_op:
        for name in _OLD_INDEXES:
            batch_op.create_index(batch_op.f(f"ix_episodes_{name}"), [name], unique=False)


_NAMES = ("tasks", "operators", "scenes", "stations", "words")
_CHILDREN_FIRST = (
    *("tag_sets", "flag_sets", "take_devices", "rollouts", "collection_takes", "run_takes", "model_takes"),
    *("model_links", "calibrations", "devices", "collections", "runs", "models", "events"),
    *_NAMES,
)


def _make_tables() -> None:
    for name in _NAMES:
        op.create_table(
            name,
            _own_key(),
            sa.Column("name", sa.Text(), nullable=False),
            sa.PrimaryKeyConstraint("key"),
        )
    _table("devices", _own_key(), _long("kind"), _long("serial"), keys=["key"])
    _table(
        "calibrations",
        _own_key(),
        sa.Column("device_key", _KEY, nullable=False),
        sa.Column("intrinsics", sa.JSON(), nullable=False),
        sa.Column("pose", sa.JSON(), nullable=True),
        sa.ForeignKeyConstraint(["device_key"], ["devices.key"]),
        keys=["key"],
    )
    _table(
        "collections",
        _text("id", 32),
        _text("name", 128),
        sa.Column("frozen", sa.Boolean(), nullable=False),
        _time("created_at"),
        sa.UniqueConstraint("name"),
        keys=["id"],
    )
    _table(
        "runs",
        *(_text(name, 64) for name in ("id", "stage", "preset", "state", "model_id")),
        sa.Column("bases", sa.JSON(), nullable=False),
        keys=["id"],
    )
    _table(
        "models",
        *(_text(name, 64) for name in ("id", "stage", "preset", "run_id", "recipe_hash")),
        _time("created_at"),
        sa.Column("tasks", sa.JSON(), nullable=False),
        sa.Column("metrics", sa.JSON(), nullable=False),
        keys=["id"],
    )
    _table(
        "events",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        _time("at"),
        _text("source", 64),
        _text("severity", 16),
        _long("words"),
        keys=["id"],
    )
    _table("tag_sets", _own_key(), _text("tag", 64), keys=["key", "tag"])
    _table("flag_sets", _own_key(), _text("flag", 64), keys=["key", "flag"])
    _make_child_tables()
    _make_indexes()


def _make_child_tables() -> None:
    _of_takes("rollouts", _text("model_id", 64), keys=[])
    _of_takes(
        "take_devices",
        _text("name", 128),
        sa.Column("device_key", _KEY, nullable=False),
        sa.Column("calibration_key", _KEY, nullable=True),
        sa.ForeignKeyConstraint(["device_key"], ["devices.key"]),
        sa.ForeignKeyConstraint(["calibration_key"], ["calibrations.key"]),
        keys=["name"],
    )
    _member("collection_takes", "collections", "collection_id", 32, sa.Column("place", sa.Integer(), nullable=False))
    _member("run_takes", "runs", "run_id", 64, _text("role", 16))
    _member("model_takes", "models", "model_id", 64)
    _table(
        "model_links",
        _text("model_id", 64),
        _text("role", 32),
        _text("base_id", 64),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], ondelete="CASCADE"),
        keys=["model_id", "role"],
    )


def _make_indexes() -> None:
    _index("take_devices", "ix_take_devices_device", "device_key", "calibration_key", "episode_id")
    _index("rollouts", "ix_rollouts_model", "model_id", "episode_id")
    _index("collection_takes", "ix_collection_takes_episode", "episode_id", "collection_id")
    _index("run_takes", "ix_run_takes_episode", "episode_id", "run_id")
    _index("model_takes", "ix_model_takes_episode", "episode_id", "model_id")
    _index("model_links", "ix_model_links_base", "base_id", "model_id")
    _index("calibrations", "ix_calibrations_device_key", "device_key")
    _index("runs", "ix_runs_model_id", "model_id")
    _index("models", "ix_models_run_id", "run_id")
    _index("events", "ix_events_at", "at")


def _own_key() -> sa.Column:
    return sa.Column("key", _KEY, autoincrement=False, nullable=False)


def _text(name: str, length: int) -> sa.Column:
    return sa.Column(name, sa.String(length=length), nullable=False)


def _long(name: str) -> sa.Column:
    return sa.Column(name, sa.Text(), nullable=False)


def _time(name: str) -> sa.Column:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=False)


def _table(name: str, *parts, keys: list[str]) -> None:
    op.create_table(name, *parts, sa.PrimaryKeyConstraint(*keys))


def _of_takes(name: str, *parts, keys: list[str]) -> None:
    owner = sa.ForeignKeyConstraint(["episode_id"], ["episodes.id"], ondelete="CASCADE")
    _table(name, _text("episode_id", 32), *parts, owner, keys=["episode_id", *keys])


def _member(name: str, owners: str, owner: str, length: int, *parts) -> None:
    key = sa.ForeignKeyConstraint([owner], [f"{owners}.id"], ondelete="CASCADE")
    takes = _text("episode_id", 32)
    _table(name, _text(owner, length), takes, *parts, _text("content_hash", 64), key, keys=[owner, "episode_id"])


def _index(table: str, name: str, *columns: str) -> None:
    with op.batch_alter_table(table, schema=None) as batch_op:
        batch_op.create_index(name, list(columns), unique=False)


def _key(name: str) -> int:
    digest = hashlib.blake2b(name.encode(errors="surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def _fill(connection: sa.Connection) -> None:
    """Names and words of the takes that are there, so that filters work at once; and edits as steps."""
    names = ("task", "operator", "scene", "station")
    texts = ("task", "instruction", "notes", "operator", "scene", "station")
    episodes = sa.table("episodes", *(sa.column(name) for name in dict.fromkeys(("id", *texts, *_KEYS))))
    found: dict[str, dict[int, str]] = {name: {} for name in _NAMES}
    changes = []
    for row in connection.execute(sa.select(*(episodes.c[name] for name in dict.fromkeys(("id", *texts))))).mappings():
        own = {name: row[name] for name in names}
        own["words"] = "\n".join(row[name] for name in texts).lower()
        for name, text in own.items():
            found[name if name == "words" else name + "s"][_key(text)] = text
        changes.append({"which": row["id"], **{f"new_{name}": _key(text) for name, text in own.items()}})
    if changes:
        values = {f"{name}_key": sa.bindparam(f"new_{name}") for name in (*names, "words")}
        connection.execute(sa.update(episodes).where(episodes.c.id == sa.bindparam("which")).values(values), changes)
    # Nobody has tagged or assessed anything yet; what came otherwise is learnt when the manifests are read again.
    connection.execute(sa.update(episodes).values(tags_key=_key(""), flags_key=_key("")))
    for name, keys in found.items():
        if keys:
            table = sa.table(name, sa.column("key"), sa.column("name"))
            connection.execute(sa.insert(table), [{"key": key, "name": text} for key, text in keys.items()])
    edits = sa.table("edits", sa.column("id"), sa.column("inverse", sa.JSON()))
    for edit_id, inverse in connection.execute(sa.select(edits.c.id, edits.c.inverse)).all():
        steps = {"steps": [_step(inverse)]}
        connection.execute(sa.update(edits).where(edits.c.id == edit_id).values(inverse=steps))


def _step(inverse: dict) -> dict:
    if "move" in inverse:
        return {"do": "move", "ids": inverse["ids"], "to_trash": inverse["move"]}
    name = inverse["set"]
    return {"do": "change", "takes": {take: {name: value} for take, value in inverse["values"].items()}}
