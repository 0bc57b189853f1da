"""Our plugins in a process of their own, for who measures it or throws things at it: ``python -m tests.node.alone FOLDER``."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from hami_core.node.kubelet import Kubelet
from hami_core.node.offers import Offers
from tests.node.plugged import Agent, Books, an_offer


async def serve(folder: Path, devices: int, slots: int) -> None:
    """Until killed."""
    offers = Offers()
    offers.put(an_offer(devices, slots))
    await Kubelet(folder, offers, Agent(), Books()).run()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), *map(int, sys.argv[2:])))
