"""What `--test` asks of the first stream: what works, and what this tenant is like."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

from tap_nexudus_usage.emission.records import RecordShape
from tap_nexudus_usage.errors import (
    AccessError,
    ApiError,
    SpentError,
    TapError,
    UnansweredError,
)
from tap_nexudus_usage.nexudus.connection import Connection
from tap_nexudus_usage.nexudus.entities import Entity
from tap_nexudus_usage.nexudus.pages import Page, Record, key
from tap_nexudus_usage.reading import clock_probe
from tap_nexudus_usage.reading.asking import Answer, Asking, count
from tap_nexudus_usage.reading.get_many_probe import GetMany, try_get_many
from tap_nexudus_usage.reading.minutes import BEGINNING, minute_of, shift
from tap_nexudus_usage.reading.tenant_clock import FARTHEST, TenantClock
from tap_nexudus_usage.run import findings, record_findings
from tap_nexudus_usage.settings.checked import Settings

CALLS_FOR_A_CLOCK = 10
"""About what a run takes to measure one."""


class TenantTest:
    """A test of reading an entity; what it learns serves what follows."""

    def __init__(self, connection: Connection, settings: Settings, entity: Entity) -> None:
        """No call is made yet."""
        self._connection = connection
        self._settings = settings
        self._entity = entity
        self._client = connection.client(entity)
        self._asking = Asking(self._client, settings.page_size)
        self._schema = entity.schema()
        self._knows_user = False
        self._ones: dict[int, Record] = {}
        self._many = GetMany()
        self._found: dict[int, Record] = {}
        self._answer: Answer | None = None
        self._known: clock_probe.Known | None = None
        self._offset: timedelta | None = None

    @property
    def stream(self) -> str:
        """The name of the stream."""
        return self._entity.stream

    @property
    def records(self) -> list[Record]:
        """The records that have come so far."""
        return [*{**self._found, **self._many.found, **self._ones}.values()]

    def log_in(self) -> Iterator[str]:
        """What the login is like, and the user; raises SpentError besides what `check` does."""
        yield findings.of_login(self._connection.auth.log_in())
        me = self._client.me(tries=2)
        self._knows_user = me is not None
        yield findings.of_locations(me)

    def begin(self) -> Iterator[str]:
        """What a run depends on; raises what `log_in` does."""
        if self._settings.record_ids:
            yield from self._check_get_one()
            yield from self._told("Get many", self._entity.read_role, self._check_get_many)
        else:
            yield from self._check_first_page()

    def go_on(self) -> Iterator[str]:
        """What the tenant is like besides; raises what `log_in` does."""
        entity = self._entity
        if self._settings.record_ids:
            yield from self._told("Search", entity.list_role, self._check_search)
            if not (self._ones or self._knows_user or self._answer):
                raise _unproven()
        else:
            yield from self._check_paging()
            yield from self._told("Get one", entity.read_role, self._check_get_one)
            yield from self._told("Get many", entity.read_role, self._check_get_many)
        yield from self._told("Lists", entity.read_role, self._compare)
        yield from self._told("Daylight saving", entity.list_role, self._check_season)
        if not self._settings.record_ids:
            yield from self._told("Without UpdatedOn", entity.list_role, self._check_unfindable)

    def sum_up(self, seconds: float, further_calls: int) -> Iterator[str]:
        """What the test came to, in so many seconds, and what a first run costs."""
        tally, waited = self._connection.tally, self._connection.throttle.waited
        yield findings.of_throttle(tally, waited)
        seconds_a_call = max(seconds - waited, 0) / max(tally.calls, 1)
        if self._settings.record_ids:
            seconds_a_call /= self._settings.max_concurrent_requests
        calls = self._calls_of_first_run() + further_calls
        yield findings.of_first_run(
            calls, seconds_a_call, self._settings.connection.requests_per_minute
        )

    def _told(self, name: str, role: str, part: Callable[[], Iterator[str]]) -> Iterator[str]:
        """Lines of what a run doesn't depend on: what fails is told, too."""
        try:
            yield from part()
        except SpentError:
            yield f"{name}: left out, for {self._connection.tally.most} calls were made"
        except AccessError:
            yield f"{name}: refused; it needs the role {role}, and a run works without"
        except TapError as error:
            yield f"{name}: {error}"

    def _check_search(self) -> Iterator[str]:
        yield from self._check_first_page()
        yield from self._check_paging()

    def _check_first_page(self) -> Iterator[str]:
        asking, page_size = self._asking, self._settings.page_size
        start_date = self._settings.rules.start_date
        start = BEGINNING if start_date is None else minute_of(start_date)
        self._answer = asking.first_page(max(shift(start, -FARTHEST), BEGINNING))
        page = self._answer.page
        self._found = {key(record): record for record in page.records}
        yield findings.of_records(page, page_size, start_date)
        if page.records:
            yield findings.of_order(page, asking.direction, is_proven=asking.is_direction_proven)
            yield record_findings.of_stamps(page.records)

    def _check_paging(self) -> Iterator[str]:
        answer = self._answer
        if answer is None or not answer.page.records:
            return
        if len(answer.page.records) > 1:
            yield self._check_pages(answer.page, answer.bound)
        self._known = clock_probe.known_from(answer.minutes)
        if self._known is not None:
            self._offset = clock_probe.find_offset(self._between, self._known)
        clock = TenantClock()
        clock.offset = self._offset or clock.offset
        yield findings.of_clock(self._offset, str(clock))

    def _check_pages(self, page: Page, bound: str) -> str:
        size = max(len(page.records) // 3, 1)
        second = self._asking.page(bound, page=2, size=size)
        if findings.is_first_again(page, second, size):
            message = (
                "The API's search answers the first page where the second was asked for: it seems "
                "to ignore the parameter. Please report it; reading by Id works without"
            )
            raise ApiError(message)
        is_capped = findings.is_capped(page, self._settings.page_size)
        counts_by_size = False
        if is_capped and len(second.records) <= size:
            by_cap, by_size = (
                self._asking.page(bound, page=2, size=size).records
                for size in (len(page.records), self._settings.page_size)
            )
            counts_by_size = [*map(key, by_cap)] != [*map(key, by_size)]
        return findings.of_pages(page, second, size, counts_by_size=counts_by_size)

    def _between(self, begin: str, end: str) -> Page:
        return self._asking.page(begin, until=end)

    def _check_get_one(self) -> Iterator[str]:
        errors: list[AccessError | UnansweredError] = []
        ids = self._ids()
        for record_id in dict.fromkeys([*ids[:1], *ids[-1:]]):
            try:
                record = self._client.get_one(record_id)
            except (AccessError, UnansweredError) as error:
                errors.append(error)
                if not self._settings.record_ids:
                    break
                continue
            if record is not None:
                self._ones[key(record)] = record
                yield "Get one: allowed"
                return
        if errors:
            raise errors[0]
        if ids:
            yield (
                "Get one: allowed, but there is no such record, or none that this user may see; "
                "the first Id and the last were tried"
            )
        else:
            yield "Get one: left out, for no Id is known"

    def _ids(self) -> list[int]:
        """Those configured; else those that a search has shown, the record that says most first."""
        if self._settings.record_ids:
            return [*self._settings.record_ids]
        return sorted(
            self._found, key=lambda record_id: record_findings.emptiness(self._found[record_id])
        )

    def _check_get_many(self) -> Iterator[str]:
        ids = self._ids()[: self._settings.batch_size]
        if len(ids) <= 1:
            yield "Get many: left out, for it isn't used with fewer than two Ids"
            return
        self._many = try_get_many(self._client, ids)
        yield findings.of_get_many(self._many, self._entity)

    def _compare(self) -> Iterator[str]:
        """What is said of all records that came, and of the same ones read in several ways."""
        found, many = self._found, self._many.found
        records = {**found, **many, **self._ones}
        if records:
            shape = RecordShape(self._schema, self._entity.json_text_fields)
            yield record_findings.of_schema([*records.values()], shape, self._schema["properties"])
        if found and self._ones and not found.keys() & self._ones.keys():
            record = self._client.get_one(
                min(found, key=lambda i: record_findings.emptiness(found[i]))
            )
            self._ones |= {} if record is None else {key(record): record}
        yield from record_findings.of_lists(found, many, self._ones)

    def _check_season(self) -> Iterator[str]:
        """Whether the clock is the same in another season."""
        if self._offset is None or self._known is None:
            return
        later = shift(self._known.early, clock_probe.HALF_A_YEAR)
        known = clock_probe.first_days(Answer(later, self._asking.page(later)).minutes)
        if known is None:
            yield "Daylight saving: not known, for there are no records half a year apart"
            return
        window = clock_probe.look(self._between, known, self._offset, self._offset)
        yield findings.of_season(clock_probe.change_since(window, self._offset))

    def _check_unfindable(self) -> Iterator[str]:
        """Records that only get one finds."""
        if self._settings.rules.start_date is None and self._answer is not None:
            total = count(self._client, None)
            yield findings.of_unfindable(total - self._answer.page.total_items)

    def _calls_of_first_run(self) -> int:
        if ids := len(self._settings.record_ids):
            return 1 + -(-ids // self._many.batch(ids, self._settings.batch_size))
        page = self._answer.page if self._answer is not None else Page([], 0, has_next_page=False)
        pages = -(-page.total_items // max(len(page.records), 1))
        is_measured = pages > 1 and self._offset
        # The login, and a search that counts once more.
        return 1 + pages + 1 + (CALLS_FOR_A_CLOCK if is_measured else 0)


def _unproven() -> UnansweredError:
    return UnansweredError(
        "The Ids tried are said not to exist, but nothing shows that it is Nexudus's API that says "
        "so: it may be a gateway. Check api_url and any proxy"
    )
