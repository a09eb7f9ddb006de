"""docs/reference/api.md has the bounds, paths and errors that there are."""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase

from syncproxy.connection.positions import MAX_QUEUED
from syncproxy.connection.room_batch import MAX_ANSWER_BYTES
from syncproxy.connection.store import MAX_PER_DEVICE
from syncproxy.dialects import msc3575
from syncproxy.web.resource import SYNC_PATHS, VERSIONS_PATH
from syncproxy.web.sending import STALLED_S
from tests.docs.pages import literal, page, rows, section
from tests.web.document import document, resolved

PAGE = "reference/api.md"


class ApiTests(SynchronousTestCase):
    """The page beside the program and the OpenAPI document."""

    def test_paths(self) -> None:
        """Each path that is served has a row."""
        paths = {literal(row[0]).split(" ")[1] for row in rows(page(PAGE)) if re.match("`(GET|POST) ", row[0])}
        self.assertEqual({*SYNC_PATHS, VERSIONS_PATH, *document()["paths"], "/metrics"}, paths)

    def test_bounds(self) -> None:
        """The numbers are those of the program."""
        bounds = {row[0]: row[1] for row in rows(section(page(PAGE), "Requests", "Bounds"))}
        for name, value in {
            "`conn_id`": msc3575.MAX_CONN_ID,
            "`txn_id`": msc3575.MAX_TXN_ID,
            "`lists`": msc3575.MAX_LISTS,
            "a list's key": msc3575.MAX_LIST_KEY_BYTES,
            "`ranges` of a list": msc3575.MAX_RANGES,
            "`room_subscriptions`": msc3575.MAX_SUBSCRIPTIONS,
            "`required_state`": msc3575.MAX_REQUIRED_STATE,
            "`timeline_limit`": msc3575.MAX_TIMELINE_LIMIT,
            "`timeout`": msc3575.MAX_TIMEOUT_MS,
            "connections of a device": MAX_PER_DEVICE,
            "an answer": MAX_ANSWER_BYTES // 1024**2,
        }.items():
            found = re.match(r"[\d ]+", bounds[name])
            self.assertEqual(value, int(found[0].replace(" ", "")) if found else None, name)

    def test_waiting(self) -> None:
        """So are those in the text."""
        self.assertEqual((16, 60), (MAX_QUEUED, STALLED_S))
        text = page(PAGE)
        self.assertIn("16 may wait", text)
        self.assertIn("a minute to take each 64 KiB", text)

    def test_errors(self) -> None:
        """Each error of a sync request in the document has a row, with its errcode."""
        documented: dict[str, str] = {}
        for row in rows(section(page(PAGE), "Errors")):
            for status in re.findall(r"\d{3}", row[0]):
                documented[status] = documented.get(status, "") + row[1]
        post = document()["paths"]["/_matrix/client/v3/sync"]["post"]
        for status, response in post["responses"].items():
            text = str(resolved(response))
            for errcode in re.findall(r"M_[A-Z_]+", text):
                self.assertIn(errcode, documented[status])
        self.assertEqual(set(post["responses"]) - {"200"}, set(documented) - {"404", "405"})
