"""The API server's client: authentication, raw list and watch, and the few writes that we make. Every caller's only door.

``kubernetes`` is imported in ``connection`` alone, on first use: it takes half a second.
"""
