"""Meters with a clock of a test's own."""

from ingest.metering.calendar import Calendar
from ingest.metering.meter import Meter, Subject
from ingest.metering.rate_limits import RateLimits
from ingest.share.buckets import Place
from ingest.share.segment import Segment

SECOND_NS = 1_000_000_000
APP = Subject(1)
START_NS = 5_000 * SECOND_NS


class Clock:
    """Both of a machine's: the one that only goes on, and the one that people set."""

    def __init__(self) -> None:
        self.ns = START_NS
        self.set_s = 1_768_046_400.0
        """Noon of 10 January 2026 in UTC."""

    def monotonic_ns(self) -> int:
        """Return the time since some moment."""
        return self.ns

    def time(self) -> float:
        """Return Unix time."""
        return self.set_s + (self.ns - START_NS) / SECOND_NS

    def go_on(self, seconds: float) -> None:
        """Let time pass."""
        self.ns += round(seconds * SECOND_NS)


def alone(clock: Clock, **limits: int) -> Meter:
    """Return the meter of a process that is alone."""
    meter = Meter(APP, Place.alone(), 1, clock.monotonic_ns)
    meter.hold_to(RateLimits(**limits), Calendar("UTC", clock.time))
    return meter


def shared(
    clock: Clock, processes: int, segment: Segment | None = None, **limits: int
) -> list[Meter]:
    """Return the meters of some processes of a server."""
    segment = segment or Segment.create(processes)
    meters = []
    for worker in range(processes):
        place = segment.buckets.place(APP.number, segment.take_slot(worker), clock.ns // SECOND_NS)
        assert place is not None
        meters.append(Meter(APP, place, processes, clock.monotonic_ns))
    for each in meters:
        each.hold_to(RateLimits(**limits), Calendar("UTC", clock.time))
    return meters
