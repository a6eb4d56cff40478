"""A stand-in for the module `tensorrt`, which refuses what the real one lacks and runs segments on the emulated device."""
