"""Metering: what every tenant used of every model on every day, each request counted exactly once.

A request's use is written to a file on this host before its answer ends, and the store counts it within a
second. The store remembers how far it has counted each file, so sending an entry again changes nothing; and
what a gateway has not sent when it dies, `kill -9` included, the next gateway that looks into the directory
sends in its place. What is not booked is what a gateway was still generating when it died.
"""

from services.gateway.accounts.metering.meter import Meter
from services.gateway.accounts.metering.opening import open_metering

__all__ = ["Meter", "open_metering"]
