"""Malformed and odd heads. Whoever reads one of these leniently can be made to smuggle requests.

Which of the odd ones are taken is aiohttp's decision (3.14, its C parser); the corpus pins it.
"""

from tests.http.cases import AUTH, CRLF, EVENT, HOST, JSON, POST, Case, join, post, raw_chunks

_LENGTH = b"Content-Length: %d" % len(EVENT)
_N = b"%d" % len(EVENT)
_CHUNKS = b"%x\r\n%b\r\n0\r\n\r\n" % (len(EVENT), EVENT)


def _bad(name: str, request: bytes) -> Case:
    return Case(f"malformed: {name}", request, 400, "bad_request", closes=True)


def _with_length(name: str, *lines: bytes) -> Case:
    return _bad(name, join(POST, HOST, AUTH, JSON, *lines, body=EVENT))


def _with_encoding(name: str, line: bytes) -> Case:
    return _bad(name, raw_chunks(_CHUNKS, line))


def _with_line(name: str, line: bytes) -> Case:
    return _bad(name, post(line=line))


def _with_header(name: str, line: bytes) -> Case:
    return _bad(name, post(line))


LENGTHS = [
    _with_length("two equal lengths", _LENGTH, _LENGTH),
    _with_length("two different lengths", _LENGTH, b"Content-Length: 5"),
    _with_length("a list of lengths", b"Content-Length: %b, %b" % (_N, _N)),
    _with_length("a signed length", b"Content-Length: +" + _N),
    _with_length("a negative length", b"Content-Length: -1"),
    _with_length("a hexadecimal length", b"Content-Length: 0x29"),
    _with_length("a length with an underscore", b"Content-Length: 4_1"),
    _with_length("a length with a fraction", b"Content-Length: 41.0"),
    _with_length("a length with an exponent", b"Content-Length: 4e1"),
    _with_length("an empty length", b"Content-Length:"),
    _with_length("a length of words", b"Content-Length: many"),
    _with_length("a length with a space in it", b"Content-Length: 4 1"),
    _with_length("a length in other digits", "Content-Length: ٤١".encode()),
    _with_length("a length past 64 bits", b"Content-Length: 99999999999999999999999"),
    _with_length("a length with something behind it", b"Content-Length: %b;" % _N),
]

ENCODINGS = [
    _with_encoding("chunked twice", b"Transfer-Encoding: chunked, chunked"),
    _with_encoding("chunked not last", b"Transfer-Encoding: chunked, gzip"),
    _with_encoding("chunked and identity", b"Transfer-Encoding: chunked, identity"),
    _with_encoding("an unknown encoding", b"Transfer-Encoding: xchunked"),
    _with_encoding("a vertical tab before chunked", b"Transfer-Encoding: \x0bchunked"),
    _with_encoding("chunked in quotes", b'Transfer-Encoding: "chunked"'),
    _with_encoding("chunked with a parameter", b"Transfer-Encoding: chunked;q=1"),
    _with_encoding("gzip and chunked", b"Transfer-Encoding: gzip, chunked"),
    _with_encoding("identity and chunked", b"Transfer-Encoding: identity, chunked"),
    _with_encoding(
        "gzip in a line before", b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked"
    ),
    _with_encoding("a comma and chunked", b"Transfer-Encoding: , chunked"),
    _with_encoding("only identity", b"Transfer-Encoding: identity"),
    _with_encoding("an empty encoding", b"Transfer-Encoding:"),
    _with_encoding("an encoding of white space", b"Transfer-Encoding: \t"),
    _with_encoding("an empty encoding and a length", b"Transfer-Encoding:\r\nContent-Length: 5"),
    _with_encoding("a space before the colon of an encoding", b"Transfer-Encoding : chunked"),
    _with_encoding("two headers", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
    _with_encoding("a length before it", b"Content-Length: 5\r\nTransfer-Encoding: chunked"),
    _with_encoding("a length behind it", b"Transfer-Encoding: chunked\r\nContent-Length: 5"),
    _with_encoding("a length of 0 too", b"Transfer-Encoding: chunked\r\nContent-Length: 0"),
]

CHUNKS = [
    _bad("a chunk size with a sign", raw_chunks(b"+1\r\na\r\n0\r\n\r\n")),
    _bad("a chunk size with 0x", raw_chunks(b"0x1\r\na\r\n0\r\n\r\n")),
    _bad("a chunk size with an underscore", raw_chunks(b"1_0\r\na\r\n0\r\n\r\n")),
    _bad("a chunk size of words", raw_chunks(b"size\r\na\r\n0\r\n\r\n")),
    _bad("an empty chunk size", raw_chunks(b"\r\na\r\n0\r\n\r\n")),
    _bad("a chunk longer than its size", raw_chunks(b"1\r\nabc\r\n0\r\n\r\n")),
    _bad("a chunk size past 64 bits", raw_chunks(b"fffffffffffffffff\r\na\r\n0\r\n\r\n")),
    _bad("a chunk size that ends with LF", raw_chunks(b"1\na\r\n0\r\n\r\n")),
    _bad("a NUL in a chunk extension", raw_chunks(b"1;\x00\r\na\r\n0\r\n\r\n")),
    _bad("a LF in a chunk extension", raw_chunks(b"1;a\nb\r\na\r\n0\r\n\r\n")),
]

LINES = [
    _with_line("a version without a number", b"POST /event HTTP/"),
    _with_line("a version of one digit", b"POST /event HTTP/1"),
    _with_line("a version with three parts", b"POST /event HTTP/1.1.1"),
    _with_line("version 1.2", b"POST /event HTTP/1.2"),
    _with_line("version 3.0", b"POST /event HTTP/3.0"),
    _with_line("a version in lower case", b"POST /event http/1.1"),
    _with_line("another protocol", b"POST /event ICE/1.0"),
    _with_line("a method in lower case", b"post /event HTTP/1.1"),
    _with_line("a method unheard of", b"BREW /event HTTP/1.1"),
    _with_line("a method with a bracket", b"PO(T /event HTTP/1.1"),
    _with_line("no method", b"/event HTTP/1.1"),
    _with_line("no target", b"POST HTTP/1.1"),
    _with_line("a space in the target", b"POST /ev ent HTTP/1.1"),
    _with_line("a space behind the version", b"POST /event HTTP/1.1 "),
    _with_line("a space before the method", b" POST /event HTTP/1.1"),
    _with_line("a tab between the parts", b"POST\t/event\tHTTP/1.1"),
    _with_line("a NUL in the target", b"POST /ev\x00ent HTTP/1.1"),
    _with_line("a CR in the target", b"POST /ev\rent HTTP/1.1"),
    _with_line("a control character in the target", b"POST /ev\x7fent HTTP/1.1"),
    _with_line("a byte past ASCII in the target", b"POST /ev\xffent HTTP/1.1"),
    _with_line("a target without a slash", b"POST event HTTP/1.1"),
    _with_line("a target of an unclosed bracket", b"POST http://[::1/event HTTP/1.1"),
    _with_line("a target with a port of words", b"POST http://test:port/event HTTP/1.1"),
]

HEADERS = [
    _with_header("a space before the colon", b"X-A : b"),
    _with_header("no colon", b"X-A"),
    _with_header("no name", b": b"),
    _with_header("a space in the name", b"X A: b"),
    _with_header("a folded line", b"X-A: b\r\n c"),
    _with_header("a folded line with a tab", b"X-A: b\r\n\tc"),
    _with_header("a NUL in a value", b"X-A: b\x00c"),
    _with_header("a NUL in a name", b"X-\x00A: b"),
    _with_header("a bare CR in a value", b"X-A: b\rc"),
    _with_header("a bare CR between headers", b"X-A: b\rX-C: d"),
    _with_header("a bare LF between headers", b"X-A: b\nX-C: d"),
    _with_header("a control character in a value", b"X-A: b\x01c"),
    _with_header("DEL in a value", b"X-A: b\x7fc"),
    _with_header("a bracket in a name", b"X(A): b"),
    _with_header("a name in other letters", "X-Ä: b".encode()),
    _with_header("two hosts", b"Host: other"),
    _with_header("two content types", JSON),
    _bad("a folded first header", join(POST, b" " + HOST, AUTH, JSON, _LENGTH, body=EVENT)),
    _bad("no host", join(POST, AUTH, JSON, _LENGTH, body=EVENT)),
    _bad("only LF as line ends", post().replace(CRLF, b"\n")),
    _bad("only CR as line ends", post().replace(CRLF, b"\r")),
]

NO_HTTP = [
    _bad("a TLS hello", bytes.fromhex("16030100f1010000ed0303") + bytes(range(200)) + b"\r\n\r\n"),
    _bad("random bytes", bytes(range(255, 127, -1)) + b"\r\n\r\n"),
    _bad("only NULs", bytes(64)),
    _bad("a line of JSON", EVENT + b"\r\n\r\n"),
    _bad("an SSH greeting", b"SSH-2.0-OpenSSH_9.6\r\n\r\n"),
    _bad("an answer instead of a request", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
]

MALFORMED = [*LENGTHS, *ENCODINGS, *CHUNKS, *LINES, *HEADERS, *NO_HTTP]
