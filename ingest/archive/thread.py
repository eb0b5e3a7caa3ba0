"""Work that blocks, in a thread that no process waits for at its end."""

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from typing import TypeVar

Result = TypeVar("Result")


async def in_thread(name: str, work: Callable[[], Result], cut: Callable[[], None]) -> Result:
    """Return what work returns in a thread of its own; `cut` is to end it when this is cancelled.

    Raises what the work raises.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Result] = loop.create_future()

    def tell(set_it: Callable[[], None]) -> None:
        if not done.done():
            set_it()

    def target() -> None:
        try:
            told = partial(done.set_result, work())
        except BaseException as raised:  # noqa: BLE001 - whoever awaits it gets it
            told = partial(done.set_exception, raised)
        if not loop.is_closed():
            loop.call_soon_threadsafe(tell, told)

    threading.Thread(target=target, name=name, daemon=True).start()
    try:
        return await done
    except asyncio.CancelledError:
        cut()
        raise
