"""One workload under five ways of virtualizing it, on the same processor model: what exits, what misses, what walks.

`layout` is the guest's memory; `kernel` the guest; `dialect` how the guest says what only a VMM or the hardware can do;
`monitor` the VMMs; `run` puts them together. No figure here is an estimate: every one is counted while it happens.
"""

from vafw.provider.model.comparison.monitor import WorkloadFailed
from vafw.provider.model.comparison.run import TECHNIQUES, Outcome, compare

__all__ = ["compare", "Outcome", "TECHNIQUES", "WorkloadFailed"]
