"""What the shop sells, and what people type and read there."""

from typing import Final, NamedTuple


class Product(NamedTuple):
    """One product."""

    name: str
    category: str
    price_cents: int
    popularity: int


PRODUCTS: Final = (
    Product("Kaffeemühle Håkon", "Kitchen", 8_900, 9),
    Product("Crêpe pan, 28 cm", "Kitchen", 4_450, 6),
    Product("Espresso cups, set of 4", "Kitchen", 2_990, 12),
    Product("Müsli bowl, blue", "Kitchen", 1_490, 14),
    Product("Bread knife", "Kitchen", 3_900, 5),
    Product("Tea tin 茶", "Kitchen", 1_290, 7),
    Product("Wool blanket Łódź", "Living", 11_900, 6),
    Product("Candle “Świeca”", "Living", 990, 15),
    Product("Reading lamp Näs", "Living", 7_900, 8),
    Product("Linen cushion", "Living", 2_790, 9),
    Product("Vase, hand-blown", "Living", 5_600, 4),
    Product("Notebook, dotted", "Desk", 1_250, 16),
    Product("Fountain pen Béa", "Desk", 4_900, 7),
    Product("Desk tidy, oak", "Desk", 3_200, 5),
    Product("Wall calendar", "Desk", 1_790, 6),
    Product("Backpack Fjäll", "Outdoors", 12_900, 7),
    Product("Vacuum flask, 0.5 l", "Outdoors", 2_890, 11),
    Product("Rain jacket Øre", "Outdoors", 14_900, 4),
    Product("Picnic rug", "Outdoors", 4_990, 5),
    Product("Building bricks", "Kids", 3_490, 8),
    Product("Puzzle “Zürich”", "Kids", 1_990, 9),
    Product("Plush fox", "Kids", 2_290, 13),
)
POPULARITIES: Final = tuple(each.popularity for each in PRODUCTS)
SEARCHES: Final = (
    "kaffeemühle", "blanket", "müsli", "tasse blau", "gift", "fox", "crêpe", "flask", "pen refill",
    "kerze", "rucksack", "puzzle 1000", "gift card", "jacket xl", "茶",
)  # fmt: skip
SEARCHES_WITHOUT_RESULTS: Final = ("gift card", "pen refill")
ARTICLES: Final = ("/journal/slow-coffee", "/journal/spring-hikes", "/help/delivery", "/about")
COUPONS: Final = ("WELCOME10", "FRÜHLING", "NEWS5")
