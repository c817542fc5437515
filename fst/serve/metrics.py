"""What a server counts, for Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from fst.serve.record import Record

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
_SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100)


class Metrics:
    """The counters of one server."""

    def __init__(self) -> None:
        own = self.registry = CollectorRegistry()
        self.requests = Counter(
            "fst_requests", "Answered requests.", ["status", "model"], registry=own
        )
        self.admitted = Gauge(
            "fst_stylize_admitted", "Pictures being read, waiting and in work.", registry=own
        )
        self.pixels = Counter("fst_pixels", "Pixels of stylized pictures.", registry=own)
        self.queued = Histogram(
            "fst_queued_seconds", "Waiting for a worker.", buckets=_SECONDS, registry=own
        )
        self.worked = Histogram(
            "fst_worked_seconds", "From the bytes to the result.", buckets=_SECONDS, registry=own
        )
        self.batches = Histogram(
            "fst_pass_pictures",
            "Pictures in one pass of a network.",
            buckets=(1, 2, 4, 8, 16),
            registry=own,
        )

    def count(self, record: Record) -> None:
        """Count a picture that was stylized."""
        self.pixels.inc(record.pixels)
        self.queued.observe(record.queued)
        self.worked.observe(record.worked)

    def text(self) -> bytes:
        """Return all of them in Prometheus' text format."""
        return generate_latest(self.registry)
