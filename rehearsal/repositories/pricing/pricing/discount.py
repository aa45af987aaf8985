"""Discounts."""

from decimal import Decimal

from pricing.money import cents

# From this many pieces on, that many percent off.
VOLUME = ((100, Decimal(15)), (50, Decimal(10)), (10, Decimal(5)))


def percent_off(price: Decimal, percent: Decimal) -> Decimal:
    """The price after a discount of so many percent."""
    if not 0 <= percent <= 100:
        raise ValueError(f"a discount is between 0 and 100 percent, not {percent}")
    return cents(price * (100 - percent) / 100)


def volume_percent(quantity: int) -> Decimal:
    """The discount that a quantity earns, in percent."""
    for least, percent in VOLUME:
        if quantity >= least:
            return percent
    return Decimal(0)
