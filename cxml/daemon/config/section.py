"""Pure. What every section of the configuration has: its base class and the kinds of values."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from cxml.daemon.config.values import Seconds, check_method, check_url

MAX_TIMEOUT_S = 3600.0  # an hour: more is a mistake of units

Timeout = Annotated[Seconds, Field(gt=0, le=MAX_TIMEOUT_S)]
Url = Annotated[str, AfterValidator(check_url)]
Method = Annotated[str, AfterValidator(check_method)]


class Section(BaseModel):
    """A table of the configuration file."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, str_strip_whitespace=True)
