"""Segments compiled by OpenVINO, on the host."""
