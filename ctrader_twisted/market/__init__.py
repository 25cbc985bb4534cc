"""Prices and who wants them. Pure: no protobuf, no Twisted; time comes in as a number."""
