"""Tells `twistd` that there is a `syncproxy`."""

from twisted.application.service import ServiceMaker

syncproxy = ServiceMaker("syncproxy", "syncproxy.tap", "Sliding sync in front of a Matrix homeserver.", "syncproxy")
