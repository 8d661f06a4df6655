"""StreamManager and ActiveStream: who owns streams, tasks and shutdown.

sources.py   anything that yields → chunk data
relay.py     the task that pumps a source into a stream
stream.py    ActiveStream, the handle that producers and readers share
channels.py  Channel: many streams under one name
streams.py   StreamManager
"""

from patinox.manager.channels import Channel
from patinox.manager.relay import Relay
from patinox.manager.stream import ActiveStream
from patinox.manager.streams import StreamManager

__all__ = ["ActiveStream", "Channel", "Relay", "StreamManager"]
