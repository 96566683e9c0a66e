"""Everything that must hold at rest, in one call."""
from harness.databases import check_invariants, wait_rest
from harness.trail import Trail


def check_all(system, broker, seconds=90):
    """Waits for rest, then checks the databases and both trails; gives the trail."""
    wait_rest(system, seconds)
    check_invariants(system)
    trail = Trail(system, broker)
    trail.check()
    return trail
