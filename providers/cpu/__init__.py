"""The CPU: NumPy, and operators written for it."""
