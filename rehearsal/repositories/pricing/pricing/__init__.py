"""Prices of a shop's baskets."""

from pricing.basket import Basket, Line
from pricing.discount import percent_off, volume_percent
from pricing.money import cents

__all__ = ["Basket", "Line", "cents", "percent_off", "volume_percent"]
