"""Serve local-bigquery on a loopback port until stdin ends.

Google's client libraries want a service account, and an access token from the address that it
names, before they call. So `/token` is added to the emulator, and a service account made up that
names it. That and the address are printed, as one JSON object.

Usage: python bigquery_emulator.py <folder of the data>
"""

from __future__ import annotations

import json
import socket
import sys
import threading
from pathlib import Path

import uvicorn
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from duckdb_extensions import import_extension
from local_bigquery import app
from local_bigquery.settings import settings

HOST = "127.0.0.1"


def token() -> dict[str, str | int]:
    """An access token for everyone."""
    return {"access_token": "any", "token_type": "Bearer", "expires_in": 3600}


def service_account(address: str) -> dict[str, str]:
    """A service account that gets its tokens here."""
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return {
        "type": "service_account",
        "project_id": "unused",
        "client_email": "loader@example.com",
        "private_key_id": "unused",
        "private_key": pem.decode(),
        "token_uri": f"{address}/token",
    }


def end_with_stdin(server: uvicorn.Server) -> None:
    """Stop serving when the process at the other end of stdin does, however it ends."""
    sys.stdin.read()
    server.should_exit = True


def main() -> None:
    """Install what DuckDB would download, then serve."""
    settings.data_dir = Path(sys.argv[1])
    for extension in ("ducklake", "icu", "spatial"):
        import_extension(extension)
    app.add_api_route("/token", token, methods=["POST"])
    with socket.create_server((HOST, 0)) as listener:
        address = f"http://{HOST}:{listener.getsockname()[1]}"
        started = {"address": address, "service_account": service_account(address)}
        print(json.dumps(started), flush=True)  # noqa: T201
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        threading.Thread(target=end_with_stdin, args=(server,), daemon=True).start()
        server.run(sockets=[listener])


if __name__ == "__main__":
    main()
