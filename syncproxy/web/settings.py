"""What the operator may set at the web edge."""

from __future__ import annotations

import attrs


@attrs.frozen
class WebSettings:
    """`max_request_size` in bytes; `public_homeserver` a URL, `None`: there is none to tell.

    `trust_forwarded_for` says that a reverse proxy in front writes `X-Forwarded-For`, whose last entry is then taken
    as the client's address.
    """

    max_request_size: int = 1024 * 1024
    trust_forwarded_for: bool = False
    public_homeserver: str | None = None
