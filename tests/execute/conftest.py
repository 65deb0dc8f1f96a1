"""Running small things in process: what all tests of this folder share."""

from __future__ import annotations

from ..conftest import Go as Go
from ..conftest import Stopper as Stopper
