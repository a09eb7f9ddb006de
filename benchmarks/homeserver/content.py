"""Events of the stand-in's rooms, as JSON bytes: made from a room's seed, the same each time.

Shapes and sizes are those of rooms on a Synapse: a room's state is some 9 KB, an encrypted message some 800 bytes.
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from functools import lru_cache
from random import Random
from typing import Any

import orjson

_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_WORDS = ("amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "heath", "islet", "juniper", "kelp", "larch")


def event_id(*parts: object) -> str:
    """An id as room version 4 and later have it: 43 characters of a hash."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return "$" + urlsafe_b64encode(digest).decode().rstrip("=")


def title(rng: Random, words: int) -> str:
    """A name of some words."""
    return " ".join(rng.choices(_WORDS, k=words)).title()


def text(rng: Random, length: int) -> str:
    """What base64 looks like."""
    return "".join(rng.choices(_ALPHABET, k=length))


def state_event(
    room_id: str, kind: str, key: str, content: dict[str, Any], *, sender: str, sent_ms: int, age_ms: int = 86_400_000
) -> bytes:
    """A state event, as `/sync` has it."""
    body = {
        "type": kind,
        "sender": sender,
        "content": content,
        "state_key": key,
        "origin_server_ts": sent_ms,
        "unsigned": {"age": age_ms},
        "event_id": event_id(room_id, kind, key),
    }
    return orjson.dumps(body)


# all that a row needs: where some are missing, one pass over a huge room drives out what the next one asks for
@lru_cache(maxsize=200_000)
def member_event(room_id: str, user_id: str, joined_ms: int) -> bytes:
    """A join, with profile."""
    rng = Random(user_id)
    content = {
        "membership": "join",
        "displayname": title(rng, 2),
        "avatar_url": f"mxc://bench.example/{rng.getrandbits(120):030x}",
    }
    return state_event(room_id, "m.room.member", user_id, content, sender=user_id, sent_ms=joined_ms)


#: what does not change from one encrypted message to the next, as far as its size goes
_CIPHERTEXT = text(Random(0), 480)
_MESSAGE = (
    b'{"type":"m.room.encrypted","sender":"%b","content":{"algorithm":"m.megolm.v1.aes-sha2","ciphertext":"%b",'
    b'"device_id":"BENCHDEVICE","sender_key":"vD5cSkEP1L6yUxkP2Q7Vd4Y2nJZ8xk4pGdJvqGWxQ2A","session_id":'
    b'"0Ml0xJqS9iJ5nGXo9m1W0lK3zq4f2hT7r8u6y5tEwQA"},"origin_server_ts":%d,"unsigned":{"age":%d},"event_id":"%b"}'
)


def message_event(message_id: str, sender: str, sent_ms: int, age_ms: int = 20) -> bytes:
    """An encrypted message; its ciphertext begins with its id, so that no two are alike."""
    ciphertext = message_id[1:] + _CIPHERTEXT
    return _MESSAGE % (sender.encode(), ciphertext.encode(), sent_ms, age_ms, message_id.encode())
