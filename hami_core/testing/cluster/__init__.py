"""A real control plane for tests, benchmarks and people to play with. Needs the extra ``cluster``.

``ControlPlane`` starts and stops it; ``nodes`` fills it with simulated nodes; ``docs/cluster.md`` shows both.
"""

from hami_core.testing.cluster.commands import Options
from hami_core.testing.cluster.control_plane import ControlPlane

__all__ = ["ControlPlane", "Options"]
