"""The one-time passwords of a second factor."""

from __future__ import annotations

import base64
import binascii

import pyotp
from typing_extensions import override


class Totp(pyotp.TOTP):
    """pyotp's, without its demand for 112 bits: seeds of 16 characters (80 bits) are common."""

    @override
    def byte_secret(self) -> bytes:
        """The seed's bytes; raises ValueError where it isn't base32."""
        seed = self.secret.replace(" ", "").rstrip("=").upper()
        try:
            return base64.b32decode(seed + "=" * (-len(seed) % 8))
        except binascii.Error as error:
            message = "not base32"
            raise ValueError(message) from error
