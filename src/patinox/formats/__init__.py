"""Dialects: one file each, both directions, and the framing they share."""
