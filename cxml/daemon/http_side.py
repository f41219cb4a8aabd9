"""Opens the HTTP side. Apart from the rest of the daemon, since a worker has none and need not read what it is made of."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

from cxml.api.app import Rendered, make_app
from cxml.api.readiness import Readiness
from cxml.api.server import serve
from cxml.daemon.config import Config
from cxml.daemon.run import Facts, StartError
from sipua.transport.base import Endpoint


async def open_http(
    stack: AsyncExitStack, config: Config, readiness: Callable[[], Readiness | Awaitable[Readiness]], metrics: Rendered
) -> Facts:
    """Serve health and metrics until *stack* closes, if there is to be an HTTP side, and return its address.

    Raises :class:`StartError` when it can't be listened there.
    """
    address = config.http.address
    if address is None:
        return {}
    try:
        server = await stack.enter_async_context(serve(make_app(readiness, metrics), *address))
    except OSError as error:
        raise StartError(f"[http] listen: {config.http.listen}: {error.strerror or error}") from error
    return {"http": Endpoint("TCP", server.host, server.port).hostport}
