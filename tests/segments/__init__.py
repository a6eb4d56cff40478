"""Segments: how they are found, cut out, offered, and kept once compiled."""
