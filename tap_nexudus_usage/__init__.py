"""Singer tap for Nexudus's ledger of consumed extra-service credits."""
