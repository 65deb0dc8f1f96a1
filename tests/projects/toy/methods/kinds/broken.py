"""Fails on purpose."""

from bench.execute.objective import Objective


class Broken(Objective):
    def forward(self, method, batch):
        if method.trainer.global_step == 2:
            raise RuntimeError("the third step went wrong")
        return super().forward(method, batch)
