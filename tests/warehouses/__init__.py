"""From the sandbox through the tap and real targets into warehouses, looked at with SQL."""
