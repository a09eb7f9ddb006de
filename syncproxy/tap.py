"""The plugin's `Options` and `makeService`: the only place that builds and wires components, and knows the reactor."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import attrs

from syncproxy.arrivals import Arrivals
from syncproxy.caches.dispatcher import Dispatcher
from syncproxy.caches.global_cache import GlobalCache
from syncproxy.caches.joined_rooms_tracker import JoinedRoomsTracker
from syncproxy.caches.user_cache_map import UserCacheMap
from syncproxy.command.garbage import CycleSearch
from syncproxy.command.heap import HeapTrim
from syncproxy.command.listeners import Listeners, metrics_site
from syncproxy.command.logs import twistd_observer
from syncproxy.command.options import Options
from syncproxy.command.process import ExitStatus, hear_few, heed_one_signal, raise_file_limit
from syncproxy.command.secret import derived_key, read_secret
from syncproxy.command.service import SyncproxyService
from syncproxy.command.settings import Settings
from syncproxy.command.stalls import StallWatch
from syncproxy.command.startup import greet_homeserver, started_database
from syncproxy.connection.conn_map import ConnMap
from syncproxy.connection.store import ConnectionStore
from syncproxy.dialects.msc3575 import MSC3575
from syncproxy.dialects.msc4186 import MSC4186
from syncproxy.dialects.msc4186_unstable import MSC4186_UNSTABLE
from syncproxy.dialects.remembering import Remembering
from syncproxy.errors import ConfigurationError
from syncproxy.extensions.core import Extension
from syncproxy.extensions.deliveries import Deliveries
from syncproxy.extensions.registry import factories
from syncproxy.homeserver.client import HomeserverClient
from syncproxy.homeserver.decoding import Decoding
from syncproxy.homeserver.relay import Relay
from syncproxy.matrix.devices import Device
from syncproxy.metrics import Metrics
from syncproxy.pubsub.bus import Bus
from syncproxy.pubsub.payloads import Payload
from syncproxy.storage.cipher import TokenCipher, check_secret
from syncproxy.storage.database import Database
from syncproxy.storage.pending import Pending
from syncproxy.storage.points import Observer, nobody
from syncproxy.storage.purger import Purger
from syncproxy.storage.purging import IdleRoom
from syncproxy.storage.reader import Reader
from syncproxy.storage.writer import Writer
from syncproxy.v2.handler import Handler
from syncproxy.v2.member_lists import MemberLists
from syncproxy.v2.poller_map import PollerMap
from syncproxy.v2.prev_batches import PrevBatches
from syncproxy.v2.state_blocks import StateBlocks
from syncproxy.v2.state_refresh import StateRefresh
from syncproxy.v2.tokens import TokenMap
from syncproxy.web.forwarding import Forwarding
from syncproxy.web.resource import OWN_PATHS, make_resource
from syncproxy.web.settings import WebSettings
from syncproxy.web.site import BoundedSite
from syncproxy.web.stored_positions import StoredPositions
from syncproxy.web.versions import Versions

__all__ = ["Options", "makeService"]

_SUPERSEDED = (
    "Another process used the database after this one lost its lock, so what is in memory is out of date: stopping. "
    "Start syncproxy again, and see that only one runs on this database."
)


def makeService(options: Options, reached: Observer = nobody) -> SyncproxyService:
    """The service that `options` describe. Under twistd, what is wrong ends the program: one line, exit status 1.

    `reached` is told of the points on each answer's way into the database; twistd gives none.
    """
    from twisted.internet import reactor

    settings = options.settings
    try:
        listeners = Listeners(reactor, clients=settings.listen, metrics=settings.metrics)
    except ConfigurationError as error:
        raise SystemExit(f"syncproxy: {error}") from None
    service = SyncproxyService(lambda stack: _start(settings, listeners, service, stack, reactor, reached))
    if options.parent is not None:
        raise_file_limit()
        heed_one_signal(reactor)
        hear_few(reactor)
        service.observer = twistd_observer(options.parent, settings.log_level, settings.log_format)
        service.failed = ExitStatus(reactor).failed
    return service


@attrs.frozen
class _Stages:
    """The components that others need to know of, first to last."""

    client: HomeserverClient
    decoding: Decoding
    reader: Reader
    writer: Writer
    handler: Handler
    tokens: TokenMap
    pollers: PollerMap
    members: MemberLists
    prev_batches: PrevBatches
    refresh: StateRefresh
    global_cache: GlobalCache
    tracker: JoinedRoomsTracker
    user_caches: UserCacheMap
    dispatcher: Dispatcher
    purger: Purger


async def _start(
    settings: Settings,
    listeners: Listeners,
    service: SyncproxyService,
    stack: AsyncExitStack,
    reactor: Any,
    reached: Observer,
) -> None:
    """Start the stages, first to last; the stack stops them, last to first."""
    metrics = Metrics()
    StallWatch(metrics, reactor).setServiceParent(service)
    HeapTrim(reactor).setServiceParent(service)
    CycleSearch(reactor).setServiceParent(service)
    secret = read_secret(settings)
    cipher = TokenCipher(secret)
    database = await started_database(settings, stack, reactor, metrics)
    await check_secret(database, cipher)
    database.when_superseded(lambda: service.fail(_SUPERSEDED))
    arrivals = Arrivals(reactor)
    stages = _created(settings, database, cipher, reactor, metrics, reached, arrivals)
    _wire(stages, arrivals)
    await _start_storing(stages, stack)
    deliveries = Deliveries()
    stages.pollers.poller_stopped = partial(_poller_stopped, stages, deliveries)
    key = derived_key(secret, "since tokens")
    extensions = factories(stages.reader, stages.writer, reactor, key, database.epoch, deliveries)
    conns = _connections(settings, stages, extensions, database.epoch, reactor, metrics)
    site = _site(settings, stages, conns, service, stack, reactor, metrics, arrivals)
    for stop in (stages.refresh.stop, stages.pollers.stop, site.disconnect, conns.stop, listeners.stop):
        stack.push_async_callback(stop)
    await listeners.start(site, metrics_site(metrics))
    await greet_homeserver(stages.client, settings.homeserver, reactor)
    await stages.pollers.resume()
    stack.push_async_callback(stages.purger.stop)
    stages.purger.start()


def _site(
    settings: Settings,
    stages: _Stages,
    conns: ConnMap,
    service: SyncproxyService,
    stack: AsyncExitStack,
    reactor: Any,
    metrics: Metrics,
    arrivals: Arrivals,
) -> BoundedSite:
    """What clients ask; the stack ends what is passed on to the homeserver."""
    web = make_resource(
        stages.tokens,
        stages.pollers,
        conns,
        {
            "msc3575": Remembering(MSC3575),
            "msc4186-unstable": Remembering(MSC4186_UNSTABLE),
            "msc4186": MSC4186,
        },
        _web_settings(settings),
        metrics,
        reactor,
        lambda: service.is_ready,
        Versions(stages.client, reactor),
    )
    site = BoundedSite(web, settings.max_request_size, reactor)
    site.noisy = False
    site.arrivals = arrivals
    if settings.forward:
        relay = Relay(reactor, settings.homeserver)
        stack.push_async_callback(relay.close)
        site.forwarding = Forwarding(
            relay,
            StoredPositions(stages.tokens, conns),
            OWN_PATHS,
            metrics,
            trust_forwarded_for=settings.trust_forwarded_for,
        )
    return site


def _created(
    settings: Settings,
    database: Database,
    cipher: TokenCipher,
    reactor: Any,
    metrics: Metrics,
    reached: Observer,
    arrivals: Arrivals,
) -> _Stages:
    """All components from the homeserver to the caches; none of them knows whom it tells, and none has started."""
    client = HomeserverClient(reactor, settings.homeserver, max_sync_size=settings.max_sync_size, arrivals=arrivals)
    decoding = Decoding(reactor)
    pending = Pending()
    reader = Reader(database, pending)
    writer = Writer(database, reactor, metrics, reached, pending)
    tracker = JoinedRoomsTracker(settings.transaction_id_wait)
    global_cache = GlobalCache(reader, reactor, metrics, settings.cache_size)
    user_caches = UserCacheMap(reader, global_cache, tracker, reactor, metrics)
    handler = Handler(writer, decoding, reactor, metrics, reached)
    # looking for tokens of devices to resume may go on for long: clients come first
    tokens = TokenMap(client, reader.in_background(), writer, cipher, reactor, metrics)
    blocks = StateBlocks(client, writer, reactor, metrics, decoding)
    pollers = PollerMap(
        client,
        handler,
        reader,
        writer,
        tokens,
        reactor,
        metrics,
        idle_s=settings.poller_idle,
        first_timeline_limit=settings.first_sync_timeline_limit,
        is_waiting=tracker.polled.is_waiting,
    )
    return _Stages(
        client=client,
        decoding=decoding,
        reader=reader,
        writer=writer,
        handler=handler,
        tokens=tokens,
        pollers=pollers,
        members=MemberLists(blocks, reactor, metrics, pollers.token_of),
        prev_batches=PrevBatches(client, writer, reactor, metrics, pollers.token_of),
        refresh=StateRefresh(blocks, reactor, metrics, tracker.users, pollers.token_of_user),
        global_cache=global_cache,
        tracker=tracker,
        user_caches=user_caches,
        dispatcher=Dispatcher(global_cache, tracker, user_caches, reactor, metrics, arrivals),
        purger=Purger(database, writer, pollers, reactor, metrics),
    )


def _wire(stages: _Stages, arrivals: Arrivals) -> None:
    """Who tells whom."""
    bus = Bus()
    stages.writer.committed = lambda changes: bus.publish(Payload(changes))
    stages.writer.calm = arrivals.calm
    stages.writer.foretold = stages.global_cache.foretold
    stages.writer.polls.live = lambda: stages.pollers.live
    bus.subscribe(stages.dispatcher.received)
    bus.subscribe(stages.refresh.received)
    stages.purger.rooms_purged = partial(_rooms_purged, stages.writer, stages.global_cache, stages.user_caches)
    stages.tracker.polled.polled_for = lambda: {device.user_id for device in stages.pollers.devices}


async def _start_storing(stages: _Stages, stack: AsyncExitStack) -> None:
    """From here on answers can be stored and told."""
    stack.push_async_callback(stages.client.close)
    stack.push_async_callback(stages.decoding.stop)
    await stages.writer.start()
    stack.callback(stages.dispatcher.stop)
    stack.push_async_callback(stages.writer.stop)
    await stages.global_cache.start(stages.writer.position)


def _connections(
    settings: Settings,
    stages: _Stages,
    extensions: Mapping[str, Callable[[Device], Extension]],
    epoch: str,
    reactor: Any,
    metrics: Metrics,
) -> ConnMap:
    """The clients' connections, which are told of tokens and devices that are gone."""
    conns = ConnMap(
        stages.global_cache,
        stages.user_caches,
        extensions,
        reactor,
        metrics,
        ttl_s=settings.connection_ttl,
        complete_members=stages.members.complete,
        find_token=stages.prev_batches.find,
        store=ConnectionStore(stages.reader, stages.writer, epoch, reactor, stages.pollers.since_of),
    )
    stages.pollers.dead_token = conns.token_died
    stages.pollers.device_lost = conns.close_device
    return conns


def _poller_stopped(stages: _Stages, deliveries: Deliveries, device: Device) -> None:
    """What is remembered of those who are polled for goes."""
    stages.dispatcher.poller_stopped(device)
    deliveries.forget(device)
    if stages.pollers.token_of_user(device.user_id) is None:
        stages.tracker.polled.forget(device.user_id)
        # it is loaded anew with the horizon of what is stored
        stages.user_caches.evict(device.user_id)


def _rooms_purged(
    writer: Writer,
    global_cache: GlobalCache,
    user_caches: UserCacheMap,
    rooms: Iterable[IdleRoom],
    users: Iterable[str],
) -> None:
    """Rooms are no longer stored: writer and caches forget them, and who was in one of them."""
    for room in rooms:
        writer.forget_room(room.room_id)
        global_cache.room_purged(room.room_id, room.position)
    for user_id in users:
        user_caches.evict(user_id)


def _web_settings(settings: Settings) -> WebSettings:
    return WebSettings(
        max_request_size=settings.max_request_size,
        trust_forwarded_for=settings.trust_forwarded_for,
        public_homeserver=settings.public_homeserver,
    )
