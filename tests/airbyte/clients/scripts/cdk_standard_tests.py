"""The CDK's standard tests of a source that is a command; runs in the CDK's environment.

They want an object, or an image: the object here runs the command that lies beside a copy of this
file, and what stands for `docker` does so for an image.
"""

from __future__ import annotations

import json
import logging
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from airbyte_cdk.models import (
    AirbyteCatalog,
    AirbyteConnectionStatus,
    AirbyteMessage,
    AirbyteMessageSerializer,
    ConnectorSpecification,
    Type,
)
from airbyte_cdk.sources import Source
from airbyte_cdk.test.standard_tests import SourceTestSuiteBase

HERE = Path(__file__).parent


class Command(Source):
    """The command, as the CDK knows sources."""

    @classmethod
    def read_catalog(cls, catalog_path: str) -> Any:
        """The catalog as it stands in the file: what is wrong in it is for the command to say."""
        return json.loads(Path(catalog_path).read_text(encoding="utf-8"))

    def spec(self, _: logging.Logger) -> ConnectorSpecification:
        """Ask for the spec."""
        return self._only(Type.SPEC, "spec").spec

    def check(self, _: logging.Logger, config: Mapping[str, Any]) -> AirbyteConnectionStatus:
        """Test the connection."""
        return self._only(Type.CONNECTION_STATUS, "check", config=config).connectionStatus

    def discover(self, _: logging.Logger, config: Mapping[str, Any]) -> AirbyteCatalog:
        """Ask for the catalog."""
        return self._only(Type.CATALOG, "discover", config=config).catalog

    def read(
        self, _: logging.Logger, config: Mapping[str, Any], catalog: Any, state: Any = None
    ) -> Iterable[AirbyteMessage]:
        """Read."""
        return self._run("read", config=config, catalog=catalog, state=state or [])

    def _only(self, kind: Type, command: str, **files: Any) -> AirbyteMessage:
        (message,) = (one for one in self._run(command, **files) if one.type == kind)
        return message

    def _run(self, command: str, **files: Any) -> Iterator[AirbyteMessage]:
        with TemporaryDirectory() as folder:
            args = [str(HERE / "source-nexudus-usage"), command]
            for name, content in files.items():
                path = Path(folder) / name
                path.write_text(json.dumps(content), encoding="utf-8")
                args += [f"--{name}", str(path)]
            finished = subprocess.run(
                args, capture_output=True, check=False, text=True, encoding="utf-8", timeout=120
            )
        for line in finished.stdout.splitlines():
            yield AirbyteMessageSerializer.load(json.loads(line))
        assert not finished.stderr
        finished.check_returncode()


class TestSource(SourceTestSuiteBase):
    """All of them."""

    connector = Command

    @classmethod
    def get_connector_root_dir(cls) -> Path:
        """Where configs and scenarios lie."""
        return HERE
