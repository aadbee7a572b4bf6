"""Inbox of a replica by hand: order, the API server's delay, withdrawal by attempt."""

from cluster_sim.engine.instant import Kind, instant
from cluster_sim.engine.process import HUB_SOURCE, Message
from cluster_sim.serving.inbox import ApiServer, Inbox
from cluster_sim.serving.messages import Cancellation, Dispatch
from cluster_sim.workload.request import Request

US = 1_000


def dispatched(number: int, now_us: int, prompt_tokens: int = 1, attempt: int = 0) -> Message:
    request = Request(number, now_us * US, prompt_tokens, 1)
    return Message(instant(now_us * US, Kind.DELIVERY), HUB_SOURCE, number, Dispatch(request, attempt))


def test_messages_come_in_the_order_of_their_instants() -> None:
    """A cancellation goes before a delivery of the same time, and a later message after both."""
    inbox = Inbox(ApiServer(0, 0.0))
    cancellation = Message(instant(5 * US, Kind.CANCELLATION), HUB_SOURCE, 9, Cancellation(9, 0))
    for message in (dispatched(1, 7), dispatched(0, 5), cancellation):
        inbox.push(message)
    assert [inbox.pop().sequence for _ in range(3)] == [9, 0, 1]


def test_the_api_server_delays_requests_only() -> None:
    """100 us and 2 us a prompt token pass until the scheduler sees a request; a cancellation is not held up."""
    inbox = Inbox(ApiServer(100 * US, 2.0 * US))
    inbox.push(dispatched(0, 5, prompt_tokens=10))
    inbox.push(Message(instant(6 * US, Kind.CANCELLATION), HUB_SOURCE, 9, Cancellation(9, 0)))
    ((ready_at, dispatch),) = inbox.dispatches()
    assert ready_at == instant(125 * US, Kind.DELIVERY)
    assert inbox.delivered_ns(dispatch, 125 * US) == 5 * US
    assert inbox.pop().instant == instant(6 * US, Kind.CANCELLATION)


def test_one_attempt_is_withdrawn_and_no_other() -> None:
    """Of two attempts of one request that the API server works on, only the one that is named is taken back."""
    inbox = Inbox(ApiServer(100 * US, 0.0))
    inbox.push(dispatched(3, 0))
    inbox.push(dispatched(3, 50, attempt=1))
    assert inbox.withdraw(3, 2) is None
    withdrawn = inbox.withdraw(3, 0)
    assert withdrawn is not None
    assert withdrawn[1].attempt == 0
    assert [dispatch.attempt for _, dispatch in inbox.dispatches()] == [1]


def test_without_an_api_server_nothing_can_be_withdrawn() -> None:
    """A request that the scheduler sees at its delivery is cancelled there."""
    inbox = Inbox(ApiServer(0, 0.0))
    inbox.push(dispatched(3, 10))
    assert inbox.withdraw(3, 0) is None
