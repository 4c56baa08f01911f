"""The table of allowances: credits of two sorts, and the charges that bookings generated."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from typing_extensions import override

from tap_nexudus_usage.nexudus.entities import ALLOWANCES
from tap_nexudus_usage.sandbox.literals import Number
from tap_nexudus_usage.sandbox.records import (
    FIRST_DAY,
    ROOMS,
    Record,
    Table,
    dotnet,
    stamp_key,
    utc_now,
)

Sort = Literal["time", "printing", "charge"]

MINUTES, USES = 1, 5
"""Charge periods, which are units."""

LOCATIONS = (1, 2)
"""All of them, which the user sees."""


class Service(NamedTuple):
    """The rate or credit that an allowance is made from, and its unit."""

    number: int
    name: str | None
    currency: str | None
    unit: int


SERVICES: dict[Sort, tuple[Service, ...]] = {
    "time": (
        Service(301, "Meeting room hours", "EUR", MINUTES),
        Service(302, "Horas de reunião", "EUR", MINUTES),
        Service(303, "Stunden „Kleine Ecke“", "EUR", MINUTES),
        Service(304, "会議室クレジット", "JPY", MINUTES),
        Service(305, "أيام المكتب", "AED", 2),
        Service(306, "Недели в коворкинге", "RSD", 3),
        Service(307, "Podcast 🎙 month", None, 4),
        Service(308, "Day passes", "GBP", USES),
        Service(309, None, "EUR", 6),
    ),
    "printing": (
        Service(401, "Printing, A4", "EUR", USES),
        Service(402, "Impressões a cores", "EUR", USES),
        Service(403, "印刷クレジット", "JPY", USES),
    ),
    "charge": (
        Service(501, "Meeting room, hourly", "EUR", MINUTES),
        Service(502, "Sala de reuniões, meio dia", "EUR", MINUTES),
        Service(503, "会議室 一日", "JPY", 2),
        Service(504, None, "GBP", MINUTES),
    ),
}

GRANTS: dict[str, tuple[int, ...]] = {
    "minutes": (600, 1_200, 2_400, 6_000),
    "pages": (100, 500, 1_000),
    "others": (5, 10, 20),
}

PRICES = tuple(
    map(Number, ("12.10", "0.1", "1e3", "12", "99.99", "0.12345678901234567", "1234567.80", "35.0"))
)
PARTS = (None, None, *map(Number, ("0", "0.00", "-2.50", "1.5", "-0.1", "0.30000000000000004")))
FACTORS = (None, *map(Number, ("1", "1.0", "1.25", "0.8", "1.0000000000000002")))
DISCOUNTS = (None, *map(Number, ("0.50", "10", "3.3333333333333333")))
FREE = Number("0")

NOTES = (
    None,
    None,
    "Asked for by Zoë on the phone, +351 555 010 203",
    'He said "half of it"\nthen: all of it\\',
    "返金済み",
)
DESCRIPTIONS = (
    None,
    None,
    "Ten hours a month",
    "Sala Tejo — meio dia",
    "Täglich, außer sonntags 🗓",
)


class Allowances(Table):
    """Whose credit, of which sort, in which unit, and how much is left; most are charges."""

    quantity = "RemainingUses"
    new_ids = range(1_000_000, 10_000_000)

    def __init__(self, count: int, seed: int = 1, *, now: Callable[[], datetime] = utc_now) -> None:
        """Generate `count` rows, of other Ids than a ledger of the same seed has."""
        super().__init__(count, f"allowances {seed}", now=now)

    def credits(self, *, printing: bool) -> list[Record]:
        """Those that can be used, of one sort, earliest first."""
        found = [
            record
            for record in self._records.values()
            if record["BookingId"] is None and record["ExtraServiceIsPrintingCredit"] is printing
        ]
        return sorted(found, key=lambda record: stamp_key(record["CreatedOn"]))

    @override
    def generate(self, record_id: int) -> Record:
        chance = self._random
        sort: Sort = chance.choices(("time", "printing", "charge"), (20, 10, 70))[0]
        service = chance.choice(SERVICES[sort])
        created = self._moment(FIRST_DAY - timedelta(days=60), days=600)
        updated = created if chance.random() < 0.7 else self._moment(created, days=60)
        is_charge = sort == "charge"
        free = chance.random() < (0.1 if is_charge else 0.6)
        by_plan = not is_charge and chance.random() < 0.7
        invoiced = not free and chance.random() < 0.8
        discounted = not free and chance.random() < 0.2
        granted = None if is_charge else chance.choice(_grants(sort, service.unit))
        today = created.replace(hour=0, minute=0, second=0, microsecond=0)
        return {
            "CoworkerId": 2_000_001 + 37 * chance.randrange(200),
            "BusinessId": chance.choice(LOCATIONS),
            "ExtraServiceId": service.number,
            "ExtraServiceName": service.name,
            "ExtraServiceCurrencyCode": service.currency,
            "ExtraServiceIsPrintingCredit": sort == "printing",
            "Description": chance.choice(DESCRIPTIONS),
            "Notes": chance.choice(NOTES),
            "RemainingUses": granted,
            "TotalUses": granted,
            "Free": free,
            "Price": FREE if free else chance.choice(PRICES),
            "LastMinutePriceAdjustment": chance.choice(PARTS) if is_charge else None,
            "DynamicPriceAdjustment": chance.choice(PARTS) if is_charge else None,
            "PriceFactorLastMinute": chance.choice(FACTORS) if is_charge else None,
            "PriceFactorDemand": chance.choice(FACTORS) if is_charge else None,
            "ValidFrom": None if is_charge else dotnet(today),
            "ExpireDate": None if is_charge else self._expiry(today),
            "DueDate": None if free else dotnet(today + timedelta(days=chance.choice((8, 15, 30)))),
            "PurchaseOrder": chance.choice((None, None, f"PO {chance.randint(1, 999)}/2025")),
            "ChargePeriod": service.unit,
            "Invoiced": invoiced,
            "InvoiceDate": dotnet(self._moment(created, days=20)) if invoiced else None,
            "IsFromTariff": by_plan,
            "TariffTimePassUniqueId": self._unique_id() if by_plan else None,
            "CoworkerProductUniqueId": (
                self._unique_id() if not is_charge and not by_plan else None
            ),
            "BookingUniqueId": self._unique_id() if is_charge else None,
            "AutomaticallyAdded": by_plan or is_charge,
            "InvoiceThisCoworker": chance.random() < 0.9,
            "DiscountCode": chance.choice(("WELCOME10", "ÉTÉ", None)) if discounted else None,
            "CoworkerDiscountUniqueId": self._unique_id() if discounted else None,
            "DiscountAmount": chance.choice(DISCOUNTS) if discounted else None,
            **self._booking_fields(created, is_charge=is_charge),
            "CoworkerContractUniqueId": self._unique_id() if by_plan else None,
            **self._common(record_id, ALLOWANCES.name, created, updated),
        }

    def _booking_fields(self, created: datetime, *, is_charge: bool) -> Record:
        """The booking that generated a charge; nothing for a credit."""
        if not is_charge:
            names = ("BookingId", "BookingFromTime", "BookingToTime", "BookingResourceName")
            return dict.fromkeys(names)
        start, hours = self._booking(created)
        return {
            "BookingId": self._random.randint(1_000_000, 9_000_000),
            "BookingFromTime": dotnet(start),
            "BookingToTime": dotnet(start + timedelta(hours=hours)),
            "BookingResourceName": self._random.choice(ROOMS),
        }

    def _expiry(self, today: datetime) -> str | None:
        """The last moment of a day, as .NET has it, or none."""
        days = self._random.choice((None, 30, 90, 365))
        if days is None:
            return None
        return dotnet(today + timedelta(days=days, microseconds=-1), ticks=9)


def _grants(sort: Sort, unit: int) -> tuple[int, ...]:
    """How much may be granted of a sort in a unit."""
    if sort == "printing":
        return GRANTS["pages"]
    return GRANTS["minutes" if unit == MINUTES else "others"]
