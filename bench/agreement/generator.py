"""Bodies that an event server may be sent: nested, oddly written, often just about wrong.

What fools parsers one by one is put together at random: numbers near every limit, strings with
every escape, halves of surrogate pairs, U+0000 behind any number of backslashes, invalid UTF-8,
deep nesting, keys twice, and then now and then a byte is changed, taken out or cut off. The same
random numbers make the same bodies.
"""

import random
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_DEPTH_MAX: Final = 4
_ITEMS_MAX: Final = 4
_CHAIN_MAX: Final = 1_200  # the limit is 128, the parser's own about 1,000
_KEY_CHARS_MAX: Final = 70_000
_MANY_NUMBERS_MAX: Final = 1_200  # more unusual ones than 1,000 are refused
_HOSTILE_SHARE: Final = 0.2
_HOSTILE_KINDS: Final = ("", "", "space", "escape", "bytes", "number", "name", "field", "mutation")
_ODD_FIELDS_SHARE: Final = 0.1
_EXTREME_SHARE: Final = 0.02

_DIGIT_COUNTS: Final = (1, 1, 2, 3, 9, 10, 16, 17, 20, 30, 199, 200, 201, 308, 309, 310, 399, 400)
_HOSTILE_DIGIT_COUNTS: Final = (401, 402, 4_000)
_EXPONENTS: Final = (0, 1, 2, 9, 10, 22, 99, 100, 290, 299, 300, 307, 308, 323)
_HOSTILE_EXPONENTS: Final = (
    309, 310, 324, 325, 399, 400, 401, 999, 1_000, 16_383, 16_384, 131_071, 131_072, 2**31, 2**63,
    10**20, 10**400,
)  # fmt: skip
_NUMBER_LIST: Final = (
    "-0 -0.0 0e0 0E-0 0e999 -0e-999 0.0e+00 1E+0000000308 1.7976931348623157e308 5e-324 4.9e-324"
    " 2.4703282292062329e-324 2.2250738585072014e-308 9007199254740993 18446744073709551616"
    " 0.1234567890123456789 1e-0 123456789e-330 0.00000000000000000001e20"
)
_NUMBERS: Final = tuple(_NUMBER_LIST.split())
_HOSTILE_NUMBER_LIST: Final = (
    "1.7976931348623159e308 2.4703282292062327e-324 1e-325 0e1000 0e99999999999 01 -01 1. .5 +1 1e"
    " 1e+ 0x10 1_000 NaN Infinity -Infinity - --1 1e1.5 1E400 \u0661"
)
_HOSTILE_NUMBERS: Final = tuple(_HOSTILE_NUMBER_LIST.split())

_ESCAPE_LIST: Final = r"\" \\ \/ \b \f \n \r \t \u00e9 \u0041 \uFFFF \uFDD0 \u0001 \u2028"
_ESCAPES: Final = tuple(_ESCAPE_LIST.split())
_LEGAL: Final = (r"\ud83d\udca5", r"\\u0000", r"\\\\u0000", r"\uDBFF\uDFFF", r"\\ud800", r"\u00000")
_HOSTILE_ESCAPES: Final = (
    r"\u0000", r"\\\u0000", r"\\\\\u0000", r"\ud800", r"\udc00", r"\udca5\ud83d", r"\ud800\ud800",
    r"\ud83dA", r"\ud83d\u0041", r"\u00", r"\uzzzz", r"\x00", r"\a", r"\'", "\\", '"', "\n", "\t",
    "\0", "\x1f",
)  # fmt: skip
_PLAIN: Final = (
    "",
    "a",
    "page",
    "/home",
    "café",
    "日本",
    "💥",
    "\x7f",
    "\u2028",
    "\ufeff",
    "\uffff",
    "u0000",
)
_BAD_UTF8: Final = (
    b"\xff", b"\x80", b"\xc0\x80", b"\xc3", b"\xe2\x82", b"\xed\xa0\x80", b"\xed\xb0\x80",
    b"\xf0\x9f\x92", b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80",
)  # fmt: skip
_SPACE: Final = ("", "", "", "", " ", "\n", "\r\n", "\t ")
_HOSTILE_SPACE: Final = ("\x0b", "\f", "\u00a0", "\ufeff", "/**/", ",")
_KEYS: Final = ('"a"', '"a"', '"b"', '""', '"\\u0061"', '"event_name"')
_TOKENS: Final = (
    b'"', b"\\", b"\\u0000", b"\0", b",", b":", b"{", b"}", b"[", b"]", b"e", b"E5", b"0", b"-",
    b".", b"null", b"NaN", b" ", b"\n", b'"a":', b"1e309", b"\\ud800", b"\xef\xbb\xbf", *_BAD_UTF8,
)  # fmt: skip


def make(random_: random.Random) -> bytes:
    """Return a request's body; about half of them can be stored."""
    hostile_kind = random_.choice(_HOSTILE_KINDS)
    body = _BodyMaker(random_, hostile_kind).body().encode("utf-8", "surrogateescape")
    return mutate(body, random_) if hostile_kind == "mutation" else body


def mutate(body: bytes, random_: random.Random) -> bytes:
    """Change a body in one or two places."""
    for _ in range(random_.choice((1, 1, 2))):
        place = random_.randrange(len(body) + 1)
        end = place + random_.randrange(1, 9)
        match random_.randrange(5):
            case 0:
                body = body[:place]
            case 1:
                body = body[:place] + bytes([random_.randrange(256)]) + body[place + 1 :]
            case 2:
                body = body[:place] + body[end:]
            case 3:
                body = body[:place] + random_.choice(_TOKENS) + body[place:]
            case _:
                body = body[:end] + body[place:]
    return body


class _BodyMaker:
    """Makes one body, in which pieces of one kind are often wrong: more would hide each other."""

    def __init__(self, random_: random.Random, hostile_kind: str) -> None:
        self._random = random_
        self._choose = random_.choice
        self._hostile_kind = hostile_kind

    def body(self) -> str:
        """Return an object with the two fields, most often."""
        fields = [f'"event_name"{self._space()}:{self._space()}{self._name()}']
        if self._random.random() > _ODD_FIELDS_SHARE:
            fields.append(f'"event_params"{self._space()}:{self._space()}{self._params()}')
        if self._is_hostile("field"):
            fields.append(self._odd_field())
        self._random.shuffle(fields)
        return f"{self._space()}{self._join(fields, '{}')}{self._space()}"

    def _odd_field(self) -> str:
        return self._choose(
            (
                f'"event_params":{self._params()}',
                f'"event_name":{self._name()}',
                f'"event_name":{self._scalar()}',
                f'"event_params":{self._scalar()}',
                '"event_\\u0070arams":null',
                f"{self._string()}:1",
            )
        )

    def _name(self) -> str:
        if self._is_extreme():
            return f'"{self._choose("aé💥") * self._choose((254, 255, 256))}"'
        if self._hostile_kind == "name":
            return self._string()
        return f'"{self._choose(_PLAIN[1:])}"'

    def _params(self) -> str:
        if self._is_extreme():
            return self._extreme()
        return self._object(0)

    def _extreme(self) -> str:
        """Return what is long in one way."""
        long = self._random.randrange(self._choose((300, _CHAIN_MAX)))
        numbers = self._random.randrange(self._choose((100, _MANY_NUMBERS_MAX)))
        key = self._choose("aé💥") * self._random.randrange(_KEY_CHARS_MAX)
        kinds: tuple[Callable[[], str], ...] = (
            lambda: '{"a":' + "[" * long + "]" * long + "}",
            lambda: '{"a":' * long + "1" + "}" * long,
            lambda: '{"a":[' + ",".join(["1e300"] * numbers) + "0]}",
            lambda: f'{{"{key}":1,"{key}":2}}',
            lambda: '{"a":"' + self._text() * self._random.randrange(200) + '"}',
        )
        return self._choose(kinds)()

    def _value(self, depth: int) -> str:
        if depth < _DEPTH_MAX and self._random.random() < 1 / 3:
            return self._choose((self._object, self._array))(depth + 1)
        return self._scalar()

    def _object(self, depth: int) -> str:
        items = [
            f"{self._key()}{self._space()}:{self._space()}{self._value(depth)}"
            for _ in range(self._random.randrange(_ITEMS_MAX + 1))
        ]
        return self._join(items, "{}")

    def _array(self, depth: int) -> str:
        items = [self._value(depth) for _ in range(self._random.randrange(_ITEMS_MAX + 1))]
        return self._join(items, "[]")

    def _join(self, items: list[str], brackets: str) -> str:
        space = self._space()
        return f"{brackets[0]}{space}{f'{space},'.join(items)}{space}{brackets[1]}"

    def _key(self) -> str:
        return self._choose(_KEYS) if self._random.random() < 2 / 3 else self._string()

    def _scalar(self) -> str:
        match self._random.randrange(6):
            case 0:
                return self._choose(("null", "true", "false"))
            case 1 | 2:
                return self._string()
            case _:
                return self._number()

    def _string(self) -> str:
        return f'"{"".join(self._text() for _ in range(self._random.randrange(4)))}"'

    def _text(self) -> str:
        if self._is_hostile("escape") or self._is_hostile("name"):
            return self._choose(_HOSTILE_ESCAPES)
        if self._is_hostile("bytes"):
            return self._choose(_BAD_UTF8).decode("utf-8", "surrogateescape")
        return self._choose(self._choose((_PLAIN, _ESCAPES, _LEGAL)))

    def _number(self) -> str:
        if self._random.random() < 1 / 4:
            return self._choose(_HOSTILE_NUMBERS if self._is_hostile("number") else _NUMBERS)
        sign = self._choose(("", "", "-"))
        whole = self._choose(("0", self._digits()))
        fraction = self._choose(("", f".{self._digits()}", f".000{self._digits()}"))
        return f"{sign}{whole}{fraction}{self._exponent() if self._random.random() < 1 / 3 else ''}"

    def _digits(self) -> str:
        count = self._choose(_HOSTILE_DIGIT_COUNTS if self._is_hostile("number") else _DIGIT_COUNTS)
        return self._choose("123456789") + self._choose("0123456789") * (count - 1)

    def _exponent(self) -> str:
        marks = self._choose(("e", "E", "e+", "E-", "e-", "e00", "e-0"))
        exponents = _HOSTILE_EXPONENTS if self._is_hostile("number") else _EXPONENTS
        return f"{marks}{self._choose(exponents)}"

    def _space(self) -> str:
        return self._choose(_HOSTILE_SPACE if self._is_hostile("space") else _SPACE)

    def _is_hostile(self, kind: str) -> bool:
        return kind == self._hostile_kind and self._random.random() < _HOSTILE_SHARE

    def _is_extreme(self) -> bool:
        return self._random.random() < _EXTREME_SHARE
