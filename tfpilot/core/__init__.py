"""Decisions. No I/O, no clock, no environment, no logging."""
