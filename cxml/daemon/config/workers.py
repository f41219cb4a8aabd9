"""Pure. The section about the processes of the daemon."""

from typing import Annotated

from pydantic import Field

from cxml.daemon.config.section import Section
from cxml.daemon.config.values import Whole
from sipua.transport.sharing import MAX_WORKERS


class Workers(Section):
    """Processes that share the calls behind one address. Limits hold for all of them together."""

    count: Annotated[Whole, Field(ge=1, le=MAX_WORKERS)] = Field(
        default=1, description="How many processes take calls: one for each core that the daemon may fill; above 1 one more watches them."
    )
