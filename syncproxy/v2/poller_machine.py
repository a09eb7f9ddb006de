"""The states of a poller, as a typed machine: what can happen to it, and what it then does."""

from __future__ import annotations

from typing import Protocol

from automat import TypeMachineBuilder


class Inputs(Protocol):
    """What can happen to a poller."""

    def begin(self) -> None:
        """Its turn to poll has come."""

    def fail(self, wait_s: float) -> None:
        """A poll failed; the next one waits so many seconds."""

    def end_rest(self) -> None:
        """The wait is over."""

    def lose_token(self) -> None:
        """The homeserver takes the token no more, and there is no other."""

    def give_token(self) -> None:
        """There is a token that was not refused."""

    def stop(self) -> None:
        """Poll no more, for good."""


class Moves(Protocol):
    """What a poller does when its state changes."""

    def go_on(self) -> None:
        """Poll, again and again."""

    def rest_for(self, wait_s: float) -> None:
        """Let `end_rest` happen after so many seconds."""

    def halt(self) -> None:
        """Let go of the request in flight and of every wait."""


builder = TypeMachineBuilder(Inputs, Moves)  # type: ignore[type-abstract] # a Protocol does
waiting_for_its_turn = builder.state("waiting_for_its_turn")
polling = builder.state("polling")
resting = builder.state("resting")
without_token = builder.state("without_token")
stopped = builder.state("stopped")


@waiting_for_its_turn.upon(Inputs.begin).to(polling)
@resting.upon(Inputs.end_rest).to(polling)
@without_token.upon(Inputs.give_token).to(polling)
def _go_on(inputs: Inputs, moves: Moves) -> None:
    moves.go_on()


@polling.upon(Inputs.fail).to(resting)
def _rest(inputs: Inputs, moves: Moves, wait_s: float) -> None:
    moves.rest_for(wait_s)


@polling.upon(Inputs.lose_token).to(without_token)
@resting.upon(Inputs.lose_token).to(without_token)
@waiting_for_its_turn.upon(Inputs.stop).to(stopped)
@polling.upon(Inputs.stop).to(stopped)
@resting.upon(Inputs.stop).to(stopped)
@without_token.upon(Inputs.stop).to(stopped)
def _halt(inputs: Inputs, moves: Moves) -> None:
    moves.halt()


for state, happening in (
    (waiting_for_its_turn, Inputs.give_token),
    (polling, Inputs.begin),
    (polling, Inputs.give_token),
    (resting, Inputs.begin),
    (resting, Inputs.give_token),
    (without_token, Inputs.fail),
    (without_token, Inputs.begin),
    (without_token, Inputs.lose_token),
    (without_token, Inputs.end_rest),
    # what was in flight when the poller was stopped may still fail
    (stopped, Inputs.fail),
    (stopped, Inputs.begin),
    (stopped, Inputs.give_token),
    (stopped, Inputs.lose_token),
    (stopped, Inputs.end_rest),
    (stopped, Inputs.stop),
):
    state.upon(happening).loop().returns(None)

Machine = builder.build()
