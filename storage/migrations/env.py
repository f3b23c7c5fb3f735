"""Runs the migrations on the connection that ``storage.database`` hands over."""

from __future__ import annotations

from typing import Any, Literal

from alembic import context

from storage.tables import Base, UtcTime


def _plain_types(kind: str, item: Any, _context: Any) -> str | Literal[False]:
    """Migrations are history: they name SQLAlchemy's own types, not ours, which may change."""
    return "sa.DateTime(timezone=True)" if kind == "type" and isinstance(item, UtcTime) else False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
    render_item=_plain_types,
)
with context.begin_transaction():
    context.run_migrations()
