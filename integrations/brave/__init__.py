"""Brave Search: the hub's client is the tool `web_search`; here is its talking stand-in."""
