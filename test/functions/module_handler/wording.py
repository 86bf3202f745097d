"""A module beside the one with the handler."""

GREETING = "Hello"
