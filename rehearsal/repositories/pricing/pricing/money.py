"""Amounts of money."""

import decimal

CENT = decimal.Decimal("0.01")


def cents(amount: decimal.Decimal) -> decimal.Decimal:
    """Rounds an amount to whole cents."""
    return amount.quantize(CENT)
