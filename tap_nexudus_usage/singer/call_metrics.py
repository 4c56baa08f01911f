"""The SDK's metrics of calls: `http_request_count` and `http_request_duration`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

from singer_sdk import Stream, metrics

from tap_nexudus_usage.nexudus.transport import OnAnswer


@contextmanager
def call_metrics(stream: Stream, path: str) -> Iterator[OnAnswer]:
    """What logs each answer, and at the end how many there were; `path` is the endpoints'."""
    with metrics.http_request_counter(stream.name, path) as counter:

        def log(endpoint: str, status: int, seconds: float) -> None:
            counter.increment()
            succeeded = status < HTTPStatus.BAD_REQUEST
            tags: dict[str, Any] = {
                metrics.Tag.STREAM: stream.name,
                metrics.Tag.ENDPOINT: endpoint,
                metrics.Tag.HTTP_STATUS_CODE: status,
                metrics.Tag.STATUS: (
                    metrics.Status.SUCCEEDED if succeeded else metrics.Status.FAILED
                ),
            }
            metric = metrics.Metric.HTTP_REQUEST_DURATION
            stream._log_metric(metrics.Point("timer", metric, seconds, tags))  # noqa: SLF001

        yield log
