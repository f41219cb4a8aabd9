"""When a worker that died is started again (docs/spec/workers.md)."""

import pytest

from cxml.daemon.workers.backoff import Backoff
from tests.support.tables import SPEC, read_table


@pytest.mark.parametrize(
    "row", read_table(SPEC / "workers.md", "When a dead worker is started again"), ids=lambda row: row["Lives, in seconds"]
)
def test_a_successor_comes_when_the_table_says(row: dict[str, str]) -> None:
    backoff = Backoff()
    waits = [backoff.delay(float(life)) for life in row["Lives, in seconds"].split(", ")]
    assert waits == [float(wait) for wait in row["Waits, in seconds"].split(", ")]
