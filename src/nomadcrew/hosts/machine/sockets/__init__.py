"""WebSockets on one machine: protocol, hub, broadcasts, presence."""
