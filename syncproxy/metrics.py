"""Every metric, named and described once. The two Go names are kept, so that its dashboards go on working."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_FINE = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_COUNTS = (1, 2, 5, 10, 20, 50, 100, 200, 500)


class Metrics:
    """The metrics of one service, in a registry of their own."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry = registry or CollectorRegistry()
        self.pollers = Gauge("sliding_sync_poller_num_pollers", "Devices being polled for.", registry=registry)
        self.connections = Gauge(
            "sliding_sync_api_num_active_conns", "Sliding sync connections that are alive.", registry=registry
        )
        self.request_setup = Histogram(
            "syncproxy_request_setup_seconds",
            "From a request's arrival until its connection takes it: token, poller, first data.",
            buckets=_FINE,
            registry=registry,
        )
        self.request_processing = Histogram(
            "syncproxy_request_processing_seconds",
            "Making an answer, the time it was held excluded.",
            buckets=_FINE,
            registry=registry,
        )
        self.batch_seconds = Histogram(
            "syncproxy_writer_batch_seconds",
            "Storing one batch: first statement to COMMIT.",
            buckets=_FINE,
            registry=registry,
        )
        self.batch_answers = Histogram(
            "syncproxy_writer_batch_answers", "Answers stored in one batch.", buckets=_COUNTS, registry=registry
        )
        self.writer_queue = Gauge("syncproxy_writer_queue", "Answers that wait to be stored.", registry=registry)
        self.repeats = Counter(
            "syncproxy_repeats", "Answers told without the database: all they brought was known.", registry=registry
        )
        self.poll_processing = Histogram(
            "syncproxy_poll_processing_seconds",
            "From the last byte of a /sync answer until it is stored and dispatched.",
            buckets=_FINE,
            registry=registry,
        )
        self.reactor_stalls = Histogram(
            "syncproxy_reactor_stall_seconds",
            "How late the reactor came to a call due every 50 ms; over 0.05 something held it.",
            buckets=_FINE,
            registry=registry,
        )
        self.forwarded = Counter(
            "syncproxy_forwarded_requests",
            "Requests passed on to the homeserver, by how they ended.",
            ["outcome"],
            registry=registry,
        )
        self.errors = Counter("syncproxy_errors", "What went wrong, by kind.", ["kind"], registry=registry)
        self.database_connections = Gauge(
            "syncproxy_database_connections", "Connections of the reading pool.", ["state"], registry=registry
        )
