"""The table `events`, as the store needs to know it: made from the table of fields."""

from typing import Final

from ingest.events import copy_format
from ingest.events.fields import FIELDS
from ingest.store.table import Column, Table

EVENTS: Final = Table(
    copy_format.TABLE,
    copy_format.PRIMARY_KEY,
    tuple(Column(field.name, field.kind.value.sql) for field in FIELDS),
)
