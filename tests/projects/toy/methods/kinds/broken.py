"""Fails on purpose."""

from bench.execute.objective import Objective


class Broken(Objective):
    def forward(self, method, batch):
        if batch.step == 2:
            raise RuntimeError("the third step went wrong")
        return super().forward(method, batch)
