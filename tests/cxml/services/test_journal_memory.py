from cxml.interpreter.ports import Journal, Position
from cxml.services.journal_memory import MemoryJournal


def position(sid: str, cursor: int = 0) -> Position:
    return Position(sid, "http://h/", b"<Response/>", cursor, {}, {})


async def test_the_latest_position_of_each_call_is_kept() -> None:
    memory = MemoryJournal()
    journal: Journal = memory
    await journal.record(position("CA1"))
    await journal.record(position("CA2"))
    await journal.record(position("CA1", 3))
    assert memory.positions() == (position("CA1", 3), position("CA2"))


async def test_a_forgotten_call_is_gone_and_forgetting_twice_is_harmless() -> None:
    memory = MemoryJournal()
    await memory.record(position("CA1"))
    await memory.forget("CA1")
    await memory.forget("CA1")
    assert memory.positions() == ()
