"""What a vendor's tests stand on: the contract suite, and random values to try things with. Needs the extra ``testing``.

    class TestAcme(PluginContract):
        plugin = acme_plugin

Nothing of the program imports this package.
"""

from hami_core.testing.contract import PluginContract

__all__ = ["PluginContract"]
