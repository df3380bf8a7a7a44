"""The network and what can be said of it."""
