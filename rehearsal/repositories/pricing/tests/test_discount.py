import unittest
from decimal import Decimal

from pricing import percent_off, volume_percent


class PercentOff(unittest.TestCase):
    def test_nothing_off(self) -> None:
        self.assertEqual(percent_off(Decimal("19.99"), Decimal(0)), Decimal("19.99"))

    def test_a_round_percentage(self) -> None:
        self.assertEqual(percent_off(Decimal("80.00"), Decimal(25)), Decimal("60.00"))

    def test_less_than_half_a_cent_rounds_down(self) -> None:
        self.assertEqual(percent_off(Decimal("19.99"), Decimal(15)), Decimal("16.99"))

    def test_half_a_cent_rounds_up(self) -> None:
        self.assertEqual(percent_off(Decimal("2.50"), Decimal(15)), Decimal("2.13"))

    def test_everything_off(self) -> None:
        self.assertEqual(percent_off(Decimal("19.99"), Decimal(100)), Decimal("0.00"))

    def test_a_discount_over_a_hundred_percent_is_refused(self) -> None:
        with self.assertRaises(ValueError):
            percent_off(Decimal("19.99"), Decimal(101))


class VolumePercent(unittest.TestCase):
    def test_few_pieces_earn_nothing(self) -> None:
        self.assertEqual(volume_percent(9), 0)

    def test_steps(self) -> None:
        self.assertEqual([volume_percent(n) for n in (10, 49, 50, 99, 100)], [5, 5, 10, 10, 15])
