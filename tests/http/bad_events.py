"""Bodies that are no event, with the code that says why; and odd ones that are."""

from ingest.events.nesting import LEVELS_MAX
from tests.http.cases import Case, post

_MARK = b"\xef\xbb\xbf"
_OPEN = b'{"event_name":"a","event_params":'


def _body(name: str, code: str, body: bytes) -> Case:
    return Case(f"body: {name}", post(body=body), 400, code)


def _json(name: str, body: bytes) -> Case:
    return _body(name, "invalid_json", body)


def _params(name: str, params: bytes, code: str = "invalid_event_params") -> Case:
    return _body(f"params: {name}", code, _OPEN + params + b"}")


def _name(name: str, value: bytes, code: str = "invalid_event_name") -> Case:
    return _body(f"name: {name}", code, b'{"event_name":' + value + b"}")


def _stored(name: str, params: bytes) -> Case:
    return Case(f"stored: {name}", post(body=_OPEN + params + b"}"), 200)


def _nested(depth: int) -> bytes:
    return b'{"a":' * depth + b"1" + b"}" * depth


def _lists(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth + b","


NO_JSON = [
    _json("empty", b""),
    _json("spaces", b" \t\r\n "),
    _json("an open brace", b"{"),
    _json("an open string", b'{"event_name":"a'),
    _json("a comma at the end", b'{"event_name":"a",}'),
    _json("a second comma", b'{"event_name":"a",,"event_params":{}}'),
    _json("no colon", b'{"event_name" "a"}'),
    _json("single quotes", b"{'event_name':'a'}"),
    _json("bare names", b'{event_name:"a"}'),
    _json("a comment", b'{"event_name":"a"/* b */}'),
    _json("a word", b"event"),
    _json("a form", b"event_name=a&b=1"),
    _json("XML", b"<event><name>a</name></event>"),
    _json("bytes of gzip", bytes.fromhex("1f8b0800000000000003")),
    _json("only NULs", bytes(16)),
    _json("a NUL behind", b'{"event_name":"a"}\x00'),
    _json("only a byte order mark", _MARK),
    _json("two byte order marks", _MARK + _MARK + b'{"event_name":"a"}'),
    _json("a byte order mark behind", b'{"event_name":"a"}' + _MARK),
    _json("a byte order mark and an open brace", _MARK + b"{"),
    _json("a stray byte behind a byte order mark", _MARK + _OPEN + b'{"a":"\xff"}}'),
    _json("UTF-16", '{"event_name":"a"}'.encode("utf-16")),
    _json("a second document", b'{"event_name":"a"}{"event_name":"b"}'),
    _json("two lines", b'{"event_name":"a"}\n{"event_name":"b"}'),
    _json("garbage behind", b'{"event_name":"a"} x'),
    _json("a bracket behind", b'{"event_name":"a"}}'),
    _json("a list", b'[{"event_name":"a"}]'),
    _json("a string", b'"a"'),
    _json("a number", b"1"),
    _json("null", b"null"),
    _json("a line break in a string", b'{"event_name":"a\nb"}'),
    _json("a tab in a string", _OPEN + b'{"a":"\t"}}'),
    _json("a raw NUL in a string", _OPEN + b'{"a":"\x00"}}'),
    _json("an unknown escape", _OPEN + b'{"a":"\\x41"}}'),
    _json("a short escape", _OPEN + b'{"a":"\\u12"}}'),
    _json("an escape of other letters", _OPEN + b'{"a":"\\uzzzz"}}'),
    _json("NaN", _OPEN + b'{"a":NaN}}'),
    _json("Infinity", _OPEN + b'{"a":Infinity}}'),
    _json("-Infinity", _OPEN + b'{"a":-Infinity}}'),
    _json("a zero before a number", _OPEN + b'{"a":01}}'),
    _json("a plus before a number", _OPEN + b'{"a":+1}}'),
    _json("a number without its whole part", _OPEN + b'{"a":.5}}'),
    _json("a number without its fraction", _OPEN + b'{"a":1.}}'),
    _json("a number without its exponent", _OPEN + b'{"a":1e}}'),
    _json("a hexadecimal number", _OPEN + b'{"a":0x1}}'),
    _json("a number with a blank", _OPEN + b'{"a":1 0}}'),
    _json("True", _OPEN + b'{"a":True}}'),
    _json("a high surrogate alone", _OPEN + b'{"a":"\\ud800"}}'),
    _json("a low surrogate alone", _OPEN + b'{"a":"\\udc00"}}'),
    _json("surrogates the wrong way round", _OPEN + b'{"a":"\\udc00\\ud800"}}'),
    _json("a surrogate alone in a key", _OPEN + b'{"\\ud800":1}}'),
    _json("a surrogate alone in the name", b'{"event_name":"\\ud800"}'),
    _json("a stray byte", _OPEN + b'{"a":"\xff"}}'),
    _json("a stray byte in a key", _OPEN + b'{"\xff":1}}'),
    _json("a NUL of two bytes", _OPEN + b'{"a":"\xc0\x80"}}'),
    _json("a slash of two bytes", _OPEN + b'{"a":"\xc0\xaf"}}'),
    _json("a surrogate in UTF-8", _OPEN + b'{"a":"\xed\xa0\x80"}}'),
    _json("CESU-8", _OPEN + b'{"a":"\xed\xa0\xbd\xed\xb2\xa9"}}'),
    _json("a cut character", _OPEN + b'{"a":"\xe2\x82"}}'),
    _json("a continuation alone", _OPEN + b'{"a":"\x80"}}'),
    _json("past the last character", _OPEN + b'{"a":"\xf4\x90\x80\x80"}}'),
    _json("five bytes for one", _OPEN + b'{"a":"\xf8\x88\x80\x80\x80"}}'),
]

FIELDS = [
    _body("no field", "missing_event_name", b"{}"),
    _body("no name", "missing_event_name", b'{"event_params":{}}'),
    _body("a name in capitals", "missing_event_name", b'{"Event_Name":"a"}'),
    _body("a misspelt field", "unknown_field", b'{"event_name":"a","event_parms":{}}'),
    _body("an id that is no UUID", "invalid_id", b'{"id":"1","event_name":"a"}'),
    _body("an empty field", "unknown_field", b'{"event_name":"a","":1}'),
    _body("an unknown field with a NUL", "unknown_field", b'{"event_name":"a","\\u0000":1}'),
    _name("null", b"null"),
    _name("a number", b"1"),
    _name("a fraction", b"1.5"),
    _name("true", b"true"),
    _name("a list", b'["a"]'),
    _name("an object", b'{"a":1}'),
    _name("empty", b'""'),
    _name("256 letters", b'"%b"' % (b"a" * 256)),
    _name("256 astral characters", b'"%b"' % ("💥" * 256).encode()),
    _name("256 escapes", b'"%b"' % (b"\\u0041" * 256)),
    _name("U+0000", b'"a\\u0000b"'),
    _name("a stray byte", b'"\xff"'),
]

PARAMS = [
    _params("a list", b"[]"),
    _params("a string", b'"a"'),
    _params("an empty string", b'""'),
    _params("a number", b"1"),
    _params("a negative number", b"-1"),
    _params("true", b"true"),
    _params("false", b"false"),
    _params("U+0000 in a value", b'{"a":"\\u0000"}'),
    _params("U+0000 in a key", b'{"\\u0000":1}'),
    _params("129 levels", _nested(LEVELS_MAX + 1)),
    _params("129 levels of lists", b'{"a":%b}' % _lists(LEVELS_MAX)[:-1]),
    _params("129 levels behind brackets in a string", b'{"a":"]}]}","b":%b}' % _nested(LEVELS_MAX)),
    _params("900 levels", _nested(900)),
    _params("100,000 levels", _nested(100_000)),
    _params("100,000 lists that stay open", b'{"a":' + b"[" * 100_000),
    _params("U+0000 deep inside", b'{"a":[{"b":["c\\u0000"]}]}'),
    _params("U+0000 behind a backslash", b'{"a":"\\\\\\u0000"}'),
    _params("1e400", b'{"a":1e400}'),
    _params("-1e400", b'{"a":-1e400}'),
    _params("1E+309", b'{"a":[1E+309]}'),
    _params("1.8e308", b'{"a":1.8e308}'),
    _params("1e-400", b'{"a":1e-400}'),
    _params("0e99999999999", b'{"a":0e99999999999}'),
    _params("1e131071", b'{"a":1e131071}'),
    _params("1e-99999999999999999999", b'{"a":1e-99999999999999999999}'),
    _params("401 digits", b'{"a":%b}' % (b"1" * 401)),
    _params("401 digits of a fraction", b'{"a":0.%b}' % (b"1" * 401)),
    _params("310 digits", b'{"a":%b}' % (b"9" * 310)),
    _params("20,000 digits", b'{"a":%b}' % (b"1" * 20_000)),
]

STORED = [
    Case("stored: a byte order mark", post(body=_MARK + b'{"event_name":"a"}'), 200),
    Case("stored: a byte order mark and spaces", post(body=_MARK + b' {"event_name":"a"} '), 200),
    Case("stored: a mark and a letter", post(body=_MARK + '{"event_name":"ä"}'.encode()), 200),
    _stored("a byte order mark in a string", b'{"a":"%b"}' % _MARK),
    _stored("an escaped backslash before u0000", b'{"a":"\\\\u0000"}'),
    _stored("two escaped backslashes before u0000", b'{"a":"\\\\\\\\u0000"}'),
    _stored("400 digits", b'{"a":0.%b}' % (b"1" * 399)),
    _stored("309 digits", b'{"a":%b}' % (b"1" * 309)),
    _stored("the largest double", b'{"a":1.7976931348623157e308}'),
    _stored("the smallest double", b'{"a":5e-324}'),
    _stored("zero with an exponent", b'{"a":0e400}'),
    _stored("1e400 in a string", b'{"a":"1e400 and %b"}' % (b"1" * 500)),
    _stored("128 levels", _nested(LEVELS_MAX)),
    _stored("128 levels many times", b'{"a":[%b0]}' % (_lists(LEVELS_MAX - 2) * 100)),
    _stored("more than 128 objects", b'{"a":[%b{}]}' % (b"{}," * 500)),
    _stored("more than 128 brackets in strings", b'{"a":"%b"}' % (b'[{\\"' * 500)),
    _stored("100 lists", b'{"a":' + b"[" * 100 + b"]" * 100 + b"}"),
    _stored("an empty key", b'{"":""}'),
    _stored("all escapes", b'{"a":"\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\ud83d\\udca5"}'),
    _stored("the last character", '{"a":"\U0010ffff\uffff"}'.encode()),
    _stored("a key given twice", b'{"a":1,"a":2}'),
    _stored("the words of other languages", b'{"a":"NaN","b":"Infinity"}'),
]

BAD = [*NO_JSON, *FIELDS, *PARAMS]
