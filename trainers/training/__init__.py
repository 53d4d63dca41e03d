"""The one loop, and the protocol that techniques keep."""
