"""Element Web's own sliding sync manager (matrix-react-sdk 3.114.0) against the proxy in front of a real Synapse.

What it needs: see test_sliding_sync_js.
"""

from __future__ import annotations

from tests.e2e.full_account import FullAccount
from tests.e2e.person import Person
from tests.e2e.scripts import ScriptCase
from tests.e2e.synapse import request
from tests.integration.client import SYNC_PATH

_accounts: list[FullAccount] = []


class ManagerTests(ScriptCase):
    """One user with more than 60 rooms, made once; each scenario has a device of its own."""

    def setUp(self) -> None:
        """Make the account, once."""
        super().setUp()
        if not _accounts:
            _accounts.append(FullAccount(self.person))
            # Synapse tells no time of an invite: it counts from when the proxy has seen it
            token = _accounts[0].alice.token
            request(f"{self.proxy.url}{SYNC_PATH}?timeout=0&access_token={token}", {})
        self.account = _accounts[0]

    def person(self, name: str) -> Person:
        """A user of all these tests."""
        return Person(self.synapse.url, self.synapse.register(f"{name}-element"))

    def manage(self, script: str) -> None:
        """Run a script with Alice, Bob and Carol, her rooms, and their order."""
        people = {"alice": self.account.alice.another_device(), "bob": self.account.bob, "carol": self.account.carol}
        logins = {name: person.as_account() for name, person in people.items()}
        self.play(script, logins, rooms=self.account.told())

    def test_spidering(self) -> None:
        """The search list slides over all rooms, in the homeserver's order, and stays right while rooms move."""
        self.manage("element_spidering")

    def test_setup(self) -> None:
        """The well-known document leads to the proxy; spaces, all rooms, and the room list's sections come."""
        self.manage("element_setup")

    def test_open_rooms(self) -> None:
        """A room that is opened comes with 50 events and its state: members lazily, or all if it is encrypted."""
        self.manage("element_open_rooms")

    def test_restart(self) -> None:
        """The proxy is restarted: the manager starts over, and no room, message or place is lost."""
        self.manage("element_restart")
