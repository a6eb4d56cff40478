"""Add, Sub, Mul, …"""
import numpy as np

from tests.cases import Case

CASES = [Case("Add", [np.ones((2, 3), "f"), np.arange(3, dtype="f")])]
