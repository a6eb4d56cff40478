"""The OpenVINO provider, on the real OpenVINO."""
