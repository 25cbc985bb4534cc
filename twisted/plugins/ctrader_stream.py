"""Signposts for twistd: what the commands are called, and where they live."""

from twisted.application.service import ServiceMaker

ctrader_stream = ServiceMaker(
    "ctrader-stream",
    "ctrader_twisted.tap",
    "Serve live cTrader prices over WebSocket and REST.",
    "ctrader-stream",
)
ctrader_simulator = ServiceMaker(
    "ctrader-simulator",
    "ctrader_twisted.simulator.tap",
    "A simulated cTrader venue: TLS and protobuf, made-up prices, faults on demand.",
    "ctrader-simulator",
)
