"""One visit: what somebody does in the shop, one thing after the other, until they leave."""

import random
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from ingest.demo.catalogue import (
    ARTICLES,
    COUPONS,
    POPULARITIES,
    PRODUCTS,
    SEARCHES,
    SEARCHES_WITHOUT_RESULTS,
    Product,
)
from ingest.demo.visitors import Visitor

_PAUSE_S, _PAUSE_LEAST_S = 22.0, 2.0
_SEARCHES: Final = 0.26
_READS_ARTICLE: Final = 0.2
_LOOKS_ON: Final = 0.56
_PRODUCTS_MAX: Final = 14
_ADDS: Final = 0.2
_CHECKS_OUT: Final = 0.56
_SIGNS_UP: Final = 0.16
_USES_COUPON: Final = 0.22
_STOCK_IS_LOW: Final = 0.06
_MOBILE_PENALTY: Final = 0.86
_ONE_PAGE_BONUS: Final = 1.12
_COUPON_PERCENT: Final = 10
_FREE_SHIPPING_CENTS, _SHIPPING_CENTS = 5_000, 490
_RATES: Final = {"EUR": 1.0, "CHF": 0.95, "GBP": 0.86}
_SOURCES: Final = {"google": 38, "direct": 30, "newsletter": 12, "instagram": 12, "idealo": 8}
_PLANS: Final = {"free": 70, "plus": 22, "family": 8}
_PAYMENTS: Final = {"paypal": 40, "card": 34, "invoice": 18, "apple_pay": 8}


class Event(NamedTuple):
    """One event as the shop sends it."""

    at_ms: int
    name: str
    params: dict[str, Any]


class Release(NamedTuple):
    """A version of the shop, and how many of those who begin to check out with it get through."""

    version: str
    orders: float


BEFORE: Final = Release("2.3.4", 0.5)
AFTER: Final = Release("2.4.0", 0.68)
"""The release that mended the checkout."""


class Visit:
    """Somebody in the shop, from some moment on. `events` is to be read once."""

    def __init__(
        self, chance: random.Random, visitor: Visitor, start_ms: int, release: Release
    ) -> None:
        self._chance = chance
        self._visitor = visitor
        self._now_ms = start_ms
        self._release = release
        self._cart: list[tuple[Product, int]] = []
        self._context = {
            **({"user_id": visitor.user_id} if visitor.user_id else {}),
            "session_id": f"{chance.getrandbits(40):010x}",
            "device": visitor.device,
            "os": visitor.os,
            "browser": visitor.browser,
            "country": visitor.country,
            "city": visitor.city,
            "language": visitor.language,
            "release": release.version,
            "checkout_test": visitor.variant,
        }

    def events(self, *, is_first: bool) -> Iterator[Event]:
        """Yield what happens; in their first visit some sign up."""
        yield self._page("/", source=self._one_of(_SOURCES))
        if self._happens(_READS_ARTICLE):
            yield self._page(self._chance.choice(ARTICLES))
        if self._happens(_SEARCHES):
            yield self._search()
        yield from self._browse()
        if is_first and self._visitor.user_id and self._happens(_SIGNS_UP):
            yield self._event("sign_up", plan=self._one_of(_PLANS))
        if self._cart and self._happens(_CHECKS_OUT):
            yield from self._check_out()

    def _browse(self) -> Iterator[Event]:
        on = 1 - (1 - _LOOKS_ON) / self._visitor.eagerness
        for _ in range(_PRODUCTS_MAX):
            if not self._happens(on):
                return
            (product,) = self._chance.choices(PRODUCTS, POPULARITIES)
            yield self._event("product_view", **self._of(product))
            if self._happens(_ADDS * min(self._visitor.eagerness, 2)):
                count = self._chance.choice((1, 1, 1, 2))
                self._cart.append((product, count))
                yield self._event("add_to_cart", **self._of(product), quantity=count)

    def _check_out(self) -> Iterator[Event]:
        items = sum(count for _, count in self._cart)
        cents = sum(self._cents(product) * count for product, count in self._cart)
        currency = self._visitor.currency
        yield self._page("/checkout")
        yield self._event("checkout_started", items=items, value=cents / 100, currency=currency)
        if self._happens(self._order_share):
            yield self._order(items, cents)
            if self._happens(_STOCK_IS_LOW):
                yield self._stock()

    @property
    def _order_share(self) -> float:
        share = self._release.orders
        if self._visitor.device == "mobile":
            share *= _MOBILE_PENALTY
        return share * _ONE_PAGE_BONUS if self._visitor.variant == "one_page" else share

    def _order(self, items: int, cents: int) -> Event:
        coupon = {}
        if self._happens(_USES_COUPON):
            coupon = {"coupon": self._chance.choice(COUPONS)}
            cents -= cents * _COUPON_PERCENT // 100
        shipping = 0 if cents >= _FREE_SHIPPING_CENTS else _SHIPPING_CENTS
        return self._event(
            "order_completed",
            order_id=f"D-{self._chance.randrange(10**7):07}",
            items=items,
            amount=(cents + shipping) / 100,
            currency=self._visitor.currency,
            payment=self._one_of(_PAYMENTS),
            **coupon,
        )

    def _stock(self) -> Event:
        """Return what the shop itself says, which is nobody's doing."""
        product, _ = self._cart[0]
        left = self._chance.randrange(5)
        return Event(self._now_ms, "stock_low", {"product": product.name, "left": left})

    def _search(self) -> Event:
        query = self._chance.choice(SEARCHES)
        results = 0 if query in SEARCHES_WITHOUT_RESULTS else self._chance.randrange(1, 9)
        return self._event("search", query=query, results=results)

    def _page(self, path: str, **more: str) -> Event:
        return self._event("page_view", page=path, **more)

    def _of(self, product: Product) -> dict[str, Any]:
        return {
            "product": product.name,
            "category": product.category,
            "price": self._cents(product) / 100,
            "currency": self._visitor.currency,
        }

    def _cents(self, product: Product) -> int:
        return round(product.price_cents * _RATES[self._visitor.currency])

    def _event(self, name: str, **params: object) -> Event:
        event = Event(self._now_ms, name, {**self._context, **params})
        pause_s = _PAUSE_LEAST_S + self._chance.expovariate(1 / _PAUSE_S)
        self._now_ms += int(pause_s * 1000)
        return event

    def _happens(self, share: float) -> bool:
        return self._chance.random() < share

    def _one_of(self, weights: dict[str, int]) -> str:
        return self._chance.choices(tuple(weights), tuple(weights.values()))[0]
