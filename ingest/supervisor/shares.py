"""A worker's share of what the configuration allows the server.

A share is never so small that what one client may send does not fit into it: of many workers each
takes at least one batch of the largest size. What is counted over all of them is not divided:
connections, and what the spool takes on disk.
"""

from msgspec.structs import replace

from ingest.config import Config


def share(config: Config, workers: int) -> Config:
    """Return the configuration of one of so many workers."""
    if workers == 1:
        return config
    limits, queue, writer, log = config.limits, config.queue, config.writer, config.log
    events = config.events
    return replace(
        config,
        limits=replace(
            limits,
            bodies_bytes_max=max(limits.bodies_bytes_max // workers, limits.batch_bytes_max),
        ),
        queue=replace(
            queue,
            events_max=max(queue.events_max // workers, writer.batch_events_max),
            bytes_max=max(queue.bytes_max // workers, writer.batch_bytes_max),
        ),
        events=replace(
            events, past_partitions_per_hour_max=-(-events.past_partitions_per_hour_max // workers)
        ),
        log=replace(log, requests=-(-log.requests // workers)),
    )
