"""LP-FT: linear probing, then fine-tuning (Kumar et al. 2022. arXiv:2202.10054)."""

from __future__ import annotations

from bench.execute.method import Method
from bench.execute.phases import Phase


class LPFT(Method):
    """Two phases: the head (and what an objective owns) on the backbone as it comes, then all that the slots let move.

    The probe takes `share` of the steps at the learning rate `probe_lr`; the schedule runs once in each phase.
    """

    def setup(self, share: float = 0.5, probe_lr: float = 1e-3) -> None:
        self.share, self.probe_lr = share, probe_lr

    def phases(self, steps: int) -> list[Phase]:
        probe = {"lr": self.probe_lr, "head_lr": self.probe_lr}
        return [
            Phase("probe", share=self.share, train=("head", "objective"), optimizer=probe),
            Phase("fine-tune", share=1 - self.share),
        ]
