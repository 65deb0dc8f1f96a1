"""Slow on purpose, so that a test can interrupt it."""

import time

from bench.execute.objective import Objective


class Slow(Objective):
    def setup(self, seconds=0.05):
        self.seconds = seconds

    def forward(self, method, batch):
        time.sleep(self.seconds)
        return super().forward(method, batch)
