"""Patinox: write a stream once; attach to it from anywhere, at any time, and miss nothing."""
