"""The interposer, and a reader of what it accounts: nothing here decides what a process may use."""

from hami_native.files import library, probe
from hami_native.limits import Limits, LimitsDevice, LimitsError, parse_limits
from hami_native.region import Region, RegionDevice, RegionError, RegionProcess

__all__ = [
    "Limits",
    "LimitsDevice",
    "LimitsError",
    "Region",
    "RegionDevice",
    "RegionError",
    "RegionProcess",
    "library",
    "parse_limits",
    "probe",
]
