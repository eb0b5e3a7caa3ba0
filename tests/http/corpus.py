"""The corpus: named requests as bytes, each with the status and code that it must be answered with.

Data only. Every way into the server has to answer all of it alike; `test_corpus.py` runs it.
"""

from tests.http.bad_events import BAD, STORED
from tests.http.bad_heads import MALFORMED
from tests.http.browsers import BROWSERS
from tests.http.cases import Case
from tests.http.odd_heads import ODD
from tests.http.refusals import REFUSALS

CASES: list[Case] = [*MALFORMED, *ODD, *REFUSALS, *BAD, *STORED, *BROWSERS]
SLOW = {"a head without an end", "half a request line"}
"""Cases that wait for a time-out."""
