"""Baskets."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from pricing.discount import percent_off, volume_percent
from pricing.money import cents

TAX_PERCENT = Decimal(19)
FREE_SHIPPING_FROM = Decimal("50.00")
SHIPPING = Decimal("4.90")


@dataclass(frozen=True)
class Line:
    """A number of pieces of one article."""

    price: Decimal
    quantity: int = 1

    def total(self) -> Decimal:
        """The price of all pieces, after the volume discount."""
        return percent_off(self.price * self.quantity, volume_percent(self.quantity))


@dataclass
class Basket:
    """What a customer buys at once."""

    lines: list[Line] = field(default_factory=list)

    def subtotal(self) -> Decimal:
        """All lines together."""
        return cents(sum((line.total() for line in self.lines), Decimal(0)))

    def shipping(self) -> Decimal:
        """Free for an empty basket and from fifty on."""
        return Decimal("0.00") if not self.lines or self.subtotal() >= FREE_SHIPPING_FROM else SHIPPING

    def tax(self) -> Decimal:
        """The tax that the subtotal contains."""
        return cents(self.subtotal() * TAX_PERCENT / (100 + TAX_PERCENT))

    def total(self) -> Decimal:
        """What is to be paid."""
        return self.subtotal() + self.shipping()
