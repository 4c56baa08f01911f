"""A tap as the SDK's guides would have it, and nothing cleverer: what a first draft would cost.

RESTStream, a partition for each Id, "get one", OAuthAuthenticator. Nexudus throttles by `409`,
which by default ends a run of the SDK's; here it is among `extra_retry_statuses`, and Retry-After
is waited for as the SDK's code samples show, so that the run comes to its end.
"""

from __future__ import annotations

import random
from collections.abc import Generator
from functools import cached_property
from typing import Any

from singer_sdk import RESTStream, Stream, Tap
from singer_sdk import typing as th
from singer_sdk.authenticators import OAuthAuthenticator
from typing_extensions import override


class NexudusAuthenticator(OAuthAuthenticator):
    """The password grant."""

    def __init__(self, api_url: str, username: str, password: str) -> None:
        """Nothing is asked for before the first request."""
        super().__init__(auth_endpoint=f"{api_url}/api/token")
        self._username = username
        self._password = password

    @property
    @override
    def oauth_request_body(self) -> dict[str, str]:
        return {
            "grant_type": "password",
            "username": self._username,
            "password": self._password,
        }


class UsageStream(RESTStream[Any]):
    """The ledger of consumed extra-service credits."""

    name = "coworker_extra_service_use_histories"
    path = "/api/billing/coworkerextraserviceusehistories/{record_id}"
    primary_keys = ("Id",)
    replication_key = "UpdatedOn"
    records_jsonpath = "$"
    extra_retry_statuses = (409, 429)
    schema = th.PropertiesList(
        th.Property("Id", th.IntegerType, required=True),
        th.Property("UniqueId", th.StringType),
        th.Property("CoworkerExtraServiceId", th.IntegerType),
        th.Property("BookingId", th.IntegerType),
        th.Property("BookingFromTime", th.DateTimeType),
        th.Property("BookingToTime", th.DateTimeType),
        th.Property("BookingResourceName", th.StringType),
        th.Property("CreditUsed", th.IntegerType),
        th.Property("CreatedOn", th.DateTimeType),
        th.Property("UpdatedOn", th.DateTimeType),
        th.Property("UpdatedBy", th.StringType),
        th.Property("IsNew", th.BooleanType),
        th.Property("SystemId", th.StringType),
        th.Property("ToStringText", th.StringType),
        th.Property("LocalizationDetails", th.ObjectType(additional_properties=True)),
        th.Property("CustomFields", th.ObjectType(additional_properties=True)),
    ).to_dict()

    @property
    @override
    def url_base(self) -> str:
        return str(self.config["api_url"])

    @cached_property
    @override
    def authenticator(self) -> NexudusAuthenticator:
        config = self.config
        return NexudusAuthenticator(config["api_url"], config["username"], config["password"])

    @property
    @override
    def partitions(self) -> list[dict[str, int]]:
        return [{"record_id": record_id} for record_id in self.config["record_ids"]]

    # The sandbox's seconds may be shorter than real ones, and these are waits by its clock.

    @override
    def backoff_wait_generator(self) -> Generator[float, None, None]:
        scale = float(self.config["time_scale"])

        def seconds(error: Any) -> float:
            return int(error.response.headers.get("Retry-After", 0)) * scale

        return self.backoff_runtime(value=seconds)

    @override
    def backoff_jitter(self, value: float) -> float:
        return value + random.random() * float(self.config["time_scale"])


class ByTheBookTap(Tap):
    """A tap with one stream."""

    name = "tap-by-the-book"
    config_jsonschema = th.PropertiesList(
        th.Property("username", th.StringType, required=True, secret=True),
        th.Property("password", th.StringType, required=True, secret=True),
        th.Property("record_ids", th.ArrayType(th.IntegerType), required=True),
        th.Property("api_url", th.StringType, required=True),
        th.Property("time_scale", th.NumberType, default=1.0),
    ).to_dict()

    @override
    def discover_streams(self) -> list[Stream]:
        return [UsageStream(self)]


if __name__ == "__main__":
    ByTheBookTap.cli()
