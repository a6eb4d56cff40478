"""A pretend device on the host, whose arrays NumPy refuses: partition, plan and transfers are tested with it anywhere."""
