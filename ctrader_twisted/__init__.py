"""A Twisted daemon between the cTrader Open API and everything built on it."""
