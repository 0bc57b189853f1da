"""The vendor-neutral core: values, hooks, decisions. It imports no plugin and no driver.

A plugin needs ``hookimpl`` from here, the values of ``hami_core.model`` and, for its own settings, ``hami_core.settings``.
"""

from hami_core.hookspecs import hookimpl

__all__ = ["__version__", "hookimpl"]
__version__ = "0.1.0"
