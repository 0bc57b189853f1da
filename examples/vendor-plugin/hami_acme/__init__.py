"""Acme's cards for hami. The hooks are in ``plugin``."""
