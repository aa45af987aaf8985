import unittest
from decimal import Decimal

from pricing import Basket, Line


class Baskets(unittest.TestCase):
    def test_an_empty_basket_costs_nothing(self) -> None:
        self.assertEqual(Basket().total(), Decimal("0.00"))

    def test_shipping_below_fifty(self) -> None:
        self.assertEqual(Basket([Line(Decimal("10.00"), 2)]).total(), Decimal("24.90"))

    def test_no_shipping_from_fifty_on(self) -> None:
        self.assertEqual(Basket([Line(Decimal("25.00"), 2)]).total(), Decimal("50.00"))

    def test_volume_discount(self) -> None:
        self.assertEqual(Basket([Line(Decimal("2.00"), 50)]).subtotal(), Decimal("90.00"))

    def test_tax_is_contained(self) -> None:
        self.assertEqual(Basket([Line(Decimal("119.00"))]).tax(), Decimal("19.00"))
