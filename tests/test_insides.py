"""What the tap leans on inside of libraries: where that changes, these tests say what and for whom.

Beside them `test_a_thread_that_is_about_to_log_does_not_get_the_last_word`, about logging's locks.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import logging
import pkgutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import backoff
import pytest
import singer_sdk
import urllib3
import uvicorn
from conftest import Bench
from outcomes import STREAM
from pip._internal.models import index
from pyrate_limiter import InMemoryBucket, Rate, RateItem
from singer_sdk.helpers._batch import StorageTarget
from singer_sdk.mapper import CustomStreamMap
from uvicorn.protocols.http.h11_impl import H11Protocol

import tap_nexudus_usage
from tap_nexudus_usage import logs
from tap_nexudus_usage.nexudus import session, transport
from tap_nexudus_usage.nexudus.totp import Totp
from tap_nexudus_usage.singer.stream import EntityStream
from tap_nexudus_usage.singer.tap import TapNexudusUsage

BY_THE_COMMAND_LINE = {"invoke", "cb_test", "cb_config"}


def own_classes() -> set[type]:
    """All classes of the package."""
    package = tap_nexudus_usage
    found = set()
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not module.name.endswith("__main__"):
            members = vars(importlib.import_module(module.name)).values()
            found |= {member for member in members if inspect.isclass(member)}
    return {found for found in found if found.__module__.startswith(package.__name__)}


def replaced() -> Iterator[tuple[type, str]]:
    """What is marked with `override`, and so replaces a library's."""
    for owner in own_classes():
        for name, member in vars(owner).items():
            function = getattr(member, "fget", None) or getattr(member, "__func__", member)
            if getattr(function, "__override__", False):
                yield owner, name


def test_what_is_replaced_is_there() -> None:
    found = list(replaced())
    gone = [
        f"the libraries have no {name} any more, which {owner.__qualname__} replaces"
        for owner, name in found
        if not any(name in vars(base) for base in owner.__mro__[1:])
    ]

    assert len(found) > 20
    assert not gone


def test_the_sdk_calls_what_is_replaced(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it is still called by that name, and at all."""
    called: set[str] = set()

    def recorded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def record(*args: Any, **kwargs: Any) -> Any:
            called.add(name)
            return function(*args, **kwargs)

        return record

    of_the_sdk = {
        f"{owner.__qualname__}.{name}": (owner, name, vars(owner)[name])
        for owner, name in replaced()
        if any(base.__module__.startswith("singer_sdk") for base in owner.__mro__[1:])
        and name not in BY_THE_COMMAND_LINE
        and inspect.isfunction(vars(owner)[name])
    }
    for what, (owner, name, function) in of_the_sdk.items():
        monkeypatch.setattr(owner, name, recorded(what, function))

    catalog = TapNexudusUsage(config=bench.settings()).catalog_dict
    catalog["streams"][0]["replication_method"] = "FULL_TABLE"
    first = bench.run(stream_maps={STREAM: {"ToStringText": None}})
    bench.run(state=first.state, catalog=catalog, emit_activate_version_messages=True)
    bench.run(
        batch_config={
            "encoding": {"format": "jsonl", "compression": "gzip"},
            "storage": {"root": Path.cwd().as_uri()},
        }
    )

    assert len(of_the_sdk) > 10
    not_called = set(of_the_sdk) - called
    assert not not_called, f"singer-sdk doesn't call any more what these replace: {not_called}"


@pytest.mark.parametrize(
    ("owner", "name", "by"),
    [
        (singer_sdk.Stream, "STATE_MSG_FREQUENCY", "EntityStream, which writes STATE itself"),
        (
            singer_sdk.Stream,
            "TYPE_CONFORMANCE_LEVEL",
            "EntityStream, for RecordShape",
        ),
        (singer_sdk.Stream, "_log_metric", "call_metrics, for each answer"),
        (singer_sdk.Stream, "_generate_record_messages", "Output, for what isn't written whole"),
        (CustomStreamMap, "_eval", "maps.explain, to find the expression that fails"),
        (StorageTarget, "_fs", "BatchFiles, which looks whether files can be written"),
        (StorageTarget, "_root_path", "BatchFiles, which looks whether files can be written"),
        (singer_sdk.Tap, "message_writer_class", "TapNexudusUsage, which has its own writer"),
        (singer_sdk.Tap, "_env_var_prefix", "TapNexudusUsage._env_var_config"),
        (singer_sdk.Tap, "_env_var_config", "TapNexudusUsage, which replaces it"),
        (urllib3.HTTPConnectionPool, "ConnectionCls", "ApiSession, for its connections"),
        (urllib3.HTTPSConnectionPool, "ConnectionCls", "ApiSession, for its connections"),
        (urllib3.PoolManager(), "pool_classes_by_scheme", "ApiSession, for its connections"),
        (urllib3.connection.HTTPConnection, "putrequest", "ApiSession, for literal brackets"),
        (urllib3.connection.HTTPConnection, "endheaders", "ApiSession, to pace what is written"),
        (urllib3.connection.HTTPConnection, "is_connected", "ApiSession, for one closed meanwhile"),
        (uvicorn.Server, "startup", "the sandbox's server"),
        (uvicorn.Server, "main_loop", "the sandbox's server"),
        (uvicorn.Server, "shutdown", "the sandbox's server"),
        (H11Protocol, "connection_made", "the sandbox, which has to break connections"),
        (index.PyPI, "pypi_url", "tools/audit.py"),
    ],
    ids=lambda value: value if isinstance(value, str) and " " not in value else "",
)
def test_what_is_used_is_there(owner: object, name: str, by: str) -> None:
    assert name in dir(owner), f"{owner} has no {name} any more, on which relies: {by}"


def test_the_sdk_keeps_what_is_set_from_outside() -> None:
    tap = TapNexudusUsage(validate_config=False)
    stream, *_ = tap.streams.values()
    ours = {"_state_writer", "_config", "_input_catalog"}
    sdk = inspect.getsource(singer_sdk.Tap) + inspect.getsource(singer_sdk.plugin_base)

    for name in ours:
        assert f"self.{name}" in sdk, f"singer-sdk's tap has no {name} any more, which ours sets"
    assert isinstance(stream, EntityStream)
    for owner, name in [
        (stream.state_manager, "is_flushed"),
        (stream, "_stream_version"),
        (stream, "mask"),
        (stream.stream_maps[0], "stream_alias"),
        (stream.stream_maps[0], "flattening_enabled"),
    ]:
        assert hasattr(owner, name), f"singer-sdk's {type(owner).__name__} has no {name} any more"


def test_urllib3_sends_through_the_connection_given(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []
    original = session._ApiHTTPConnection.putrequest
    at_gate: list[str] = []
    let_through = transport.Transport._let_through

    def putrequest(self: Any, method: str, url: str, *args: Any, **kwargs: Any) -> None:
        sent.append(url)
        original(self, method, url, *args, **kwargs)

    def note(self: Any, method: str, **options: Any) -> None:
        at_gate.append(method)
        let_through(self, method, **options)

    monkeypatch.setattr(session._ApiHTTPConnection, "putrequest", putrequest)
    monkeypatch.setattr(transport.Transport, "_let_through", note)
    bench.read()

    assert any("id=%5B" in url for url in sent), (
        "requests or urllib3 take another way than ConnectionCls.putrequest, by which brackets "
        "in the query stay as they are"
    )
    assert len(at_gate) == len(sent), (
        "requests or urllib3 take another way than ConnectionCls.endheaders, by which calls are "
        "paced"
    )


def test_every_handler_is_found() -> None:
    handler = logging.NullHandler()
    a_logger = logging.getLogger(f"{__name__}.of.nobody")
    a_logger.addHandler(handler)
    try:
        assert handler in logs._handlers(), "logging.root.manager.loggerDict has not all loggers"
    finally:
        a_logger.removeHandler(handler)


def test_pyotp_asks_for_the_bytes_of_the_seed() -> None:
    # 16 characters, which pyotp itself refuses from 2.12 on.
    assert Totp("JBSWY3DPEHPK3PXP").at(0) == "282760", "pyotp's TOTP goes round byte_secret"


def test_backoff_begins_with_nothing_then_doubles() -> None:
    waits = backoff.expo(base=2, factor=1, max_value=5)

    assert not next(waits)
    assert [next(waits) for _ in range(4)] == [1, 2, 4, 5]


def test_pyrate_limiter_takes_the_time_from_its_items() -> None:
    bucket = InMemoryBucket([Rate(1, 1_000)])

    assert bucket.put(RateItem("call", 5_000))
    late = RateItem("call", 5_400)
    assert not bucket.put(late)
    assert bucket.failing_rate is not None, "Windows.describe_full finds no reason"
    # Or a millisecond more.
    assert 600 <= bucket.waiting(late) <= 601  # type: ignore[operator]
