"""The SDK's metrics of calls: `http_request_count` and `http_request_duration`."""

from __future__ import annotations

from http import HTTPStatus
from types import TracebackType
from typing import Any

from singer_sdk import Stream, metrics
from typing_extensions import Self


class CallMetrics:
    """Counts and times a stream's calls, for as long as it is entered."""

    def __init__(self, stream: Stream, path: str) -> None:
        """`path` is that of the entity's endpoints."""
        self._stream = stream
        self._counter = metrics.http_request_counter(stream.name, path)

    def __enter__(self) -> Self:
        """Begin to count."""
        self._counter.__enter__()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Log the count."""
        self._counter.__exit__(exc_type, exc, traceback)

    def log(self, endpoint: str, status: int, seconds: float) -> None:
        """Log an answer, see `nexudus.transport.OnAnswer`."""
        self._counter.increment()
        succeeded = status < HTTPStatus.BAD_REQUEST
        tags: dict[str, Any] = {
            metrics.Tag.STREAM: self._stream.name,
            metrics.Tag.ENDPOINT: endpoint,
            metrics.Tag.HTTP_STATUS_CODE: status,
            metrics.Tag.STATUS: metrics.Status.SUCCEEDED if succeeded else metrics.Status.FAILED,
        }
        metric = metrics.Metric.HTTP_REQUEST_DURATION
        self._stream._log_metric(metrics.Point("timer", metric, seconds, tags))  # noqa: SLF001
