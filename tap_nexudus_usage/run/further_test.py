"""What `--test` asks of a stream besides the first: what a run of it depends on, in a few calls."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tap_nexudus_usage.emission.records import RecordShape
from tap_nexudus_usage.errors import AccessError, TapError
from tap_nexudus_usage.nexudus.client import NexudusClient
from tap_nexudus_usage.nexudus.entities import Entity
from tap_nexudus_usage.nexudus.pages import Record, key
from tap_nexudus_usage.reading.asking import Asking
from tap_nexudus_usage.reading.get_many_probe import GetMany, try_get_many
from tap_nexudus_usage.reading.minutes import BEGINNING, minute_of, shift
from tap_nexudus_usage.reading.tenant_clock import FARTHEST
from tap_nexudus_usage.run import findings, record_findings
from tap_nexudus_usage.run.named import take
from tap_nexudus_usage.settings.checked import Settings


class FurtherTest:
    """A test of reading an entity, where another one has shown what the tenant is like."""

    def __init__(self, client: NexudusClient, settings: Settings, entity: Entity) -> None:
        """No call is made yet."""
        self._client = client
        self._settings = settings
        self._entity = entity
        self._records: dict[int, Record] = {}
        self._many = GetMany()
        self._pages = 0
        self._ids_a_record = 1.0

    @property
    def stream(self) -> str:
        """The name of the stream."""
        return self._entity.stream

    def lines(self, naming: Sequence[Record]) -> Iterator[str]:
        """What works; `naming` are records that may name the Ids of this entity.

        Raises SpentError, and AccessError and ApiError where a run could not work.
        """
        if self._settings.record_ids:
            yield from self._check_by_id(self._ids_named_by(naming))
        else:
            yield from self._check_search()
        if self._records:
            shape = RecordShape(self._entity.schema(), self._entity.json_text_fields)
            known = self._entity.schema()["properties"]
            yield record_findings.of_schema([*self._records.values()], shape, known)

    def calls_of_first_run(self) -> int:
        """About how many calls a first run needs for this entity."""
        if self._settings.record_ids:
            ids = int(len(self._settings.record_ids) * self._ids_a_record)
            return -(-ids // self._many.batch(ids, self._settings.batch_size)) if ids else 0
        return self._pages

    def _ids_named_by(self, naming: Sequence[Record]) -> list[int]:
        named_by = self._entity.named_by
        if named_by is None:
            return [*self._settings.record_ids]
        ids: dict[int, None] = {}
        for record in naming:
            take(record, {named_by.field: ids})
        self._ids_a_record = len(ids) / max(len(naming), 1)
        return [*ids]

    def _check_by_id(self, ids: list[int]) -> Iterator[str]:
        if not ids:
            yield "Get one: left out, for no Id is known"
            return
        record = self._client.get_one(ids[0])
        if record is None:
            yield "Get one: allowed, but there is no such record, or none that this user may see"
        else:
            self._records[key(record)] = record
            yield "Get one: allowed"
        if len(ids) > 1:
            self._many = try_get_many(self._client, ids[: self._settings.batch_size])
            self._records |= self._many.found
            yield findings.of_get_many(self._many, self._entity)

    def _check_search(self) -> Iterator[str]:
        page_size, start_date = self._settings.page_size, self._settings.rules.start_date
        start = BEGINNING if start_date is None else minute_of(start_date)
        start = max(shift(start, -FARTHEST), BEGINNING)
        page = Asking(self._client, page_size).first_page(start).page
        self._records = {key(record): record for record in page.records}
        self._pages = -(-page.total_items // max(len(page.records), 1)) + 1
        yield findings.of_records(page, page_size, start_date)
        if not page.records:
            return
        try:
            self._client.get_one(next(iter(self._records)), tries=1)
        except AccessError:
            role = self._entity.read_role
            yield f"Get one: refused; it needs the role {role}, and a run works without"
        except TapError as error:
            yield f"Get one: {error}"
        else:
            yield "Get one: allowed"
