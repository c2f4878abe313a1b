"""Barriers on the caller's own sessions and connections of SQLAlchemy."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, create_engine, create_mock_engine, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from sagaline import Failed
from sagaline.barrier import AsyncSqlAlchemyBarrier, SqlAlchemyBarrier, Undone
from sagaline.errors import BarrierMisuse
from tests.unit.barrier.contexts import action_context, undo_context


class Base(DeclarativeBase):
    pass


class Seat(Base):
    __tablename__ = "seats"
    id: Mapped[int] = mapped_column(primary_key=True)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'test.db'}"
    else:
        url = request.getfixturevalue("postgres_url").replace("postgresql:", "postgresql+psycopg:")
    made = create_engine(url)
    with made.begin() as connection:
        SqlAlchemyBarrier(made).create_table(connection)
        Base.metadata.create_all(connection)
    yield made
    made.dispose()


@pytest.fixture
async def async_engine(engine: Engine) -> AsyncIterator[AsyncEngine]:
    """Of the same database."""
    url = engine.url.set(drivername="sqlite+aiosqlite") if engine.dialect.name == "sqlite" else engine.url
    made = create_async_engine(url)
    yield made
    await made.dispose()


def take_seat(session: Session) -> int:
    seat = Seat(id=4)
    session.add(seat)
    return 4


def insert_seat(connection: Connection) -> int:
    connection.execute(text("INSERT INTO seats VALUES (4)"))
    return 4


def seats(engine: Engine) -> int:
    with engine.connect() as connection:
        return connection.execute(select(func.count()).select_from(Seat)).scalar_one()


def test_objects_of_the_session_are_part_of_it(engine: Engine) -> None:
    barrier = SqlAlchemyBarrier(engine, sessionmaker(engine).begin)
    for _ in range(2):
        with barrier.transaction() as session:
            assert barrier.action(session, action_context(), take_seat, returns=int) == 4
    assert seats(engine) == 1

    def give_seat(session: Session, output: int) -> None:
        session.delete(session.get_one(Seat, output))

    with barrier.transaction() as session:
        assert barrier.undo(session, undo_context(), give_seat, returns=int) is Undone.NOW
    assert seats(engine) == 0


def test_objects_added_before_a_failure_are_gone_with_it(engine: Engine) -> None:
    barrier = SqlAlchemyBarrier(engine, sessionmaker(engine).begin)

    def fail(session: Session) -> int:
        session.add(Seat(id=5))
        session.flush()
        session.add(Seat(id=6))
        raise Failed("SoldOut")

    for _ in range(2):
        with pytest.raises(Failed, match="SoldOut"), barrier.transaction() as session:
            barrier.action(session, action_context(), fail, returns=int)
    assert seats(engine) == 0


def test_the_sessions_own_transaction_block_will_do(engine: Engine) -> None:
    """`session.begin()` gives a SessionTransaction; the barrier is called with the session."""
    of_sessions = SqlAlchemyBarrier(engine, sessionmaker(engine).begin)
    with Session(engine) as session, of_sessions.transaction(session.begin):
        assert of_sessions.action(session, action_context(), take_seat, returns=int) == 4
    of_connections = SqlAlchemyBarrier(engine)
    with engine.connect() as connection, of_connections.transaction(connection.begin):
        assert of_connections.action(connection, action_context(), insert_seat, returns=int) == 4
    assert seats(engine) == 1


async def test_the_async_sessions_own_transaction_block_will_do(engine: Engine, async_engine: AsyncEngine) -> None:
    async def take(tx: AsyncSession | AsyncConnection) -> int:
        await tx.execute(text("INSERT INTO seats VALUES (4)"))
        return 4

    of_sessions = AsyncSqlAlchemyBarrier(async_engine, async_sessionmaker(async_engine).begin)
    async with AsyncSession(async_engine) as session, of_sessions.transaction(session.begin):
        assert await of_sessions.action(session, action_context(), take, returns=int) == 4
    of_connections = AsyncSqlAlchemyBarrier(async_engine)
    async with async_engine.connect() as connection, of_connections.transaction(connection.begin):
        assert await of_connections.action(connection, action_context(), take, returns=int) == 4
    assert seats(engine) == 1


def test_without_a_transaction_it_is_refused(engine: Engine) -> None:
    of_sessions = SqlAlchemyBarrier(engine, lambda: Session(engine))
    with pytest.raises(BarrierMisuse, match="no transaction is open on this Session"), of_sessions.transaction() as tx:
        of_sessions.action(tx, action_context(), take_seat, returns=int)
    of_connections = SqlAlchemyBarrier(engine, engine.connect)
    with pytest.raises(BarrierMisuse, match="on this Connection"), of_connections.transaction() as connection:
        of_connections.action(connection, action_context(), insert_seat, returns=int)
    assert seats(engine) == 0


async def test_without_a_transaction_an_async_session_is_refused(engine: Engine, async_engine: AsyncEngine) -> None:
    barrier = AsyncSqlAlchemyBarrier(async_engine, lambda: AsyncSession(async_engine))

    async def must_not_run(_session: AsyncSession) -> int:
        pytest.fail("it ran")

    with pytest.raises(BarrierMisuse, match="no transaction is open on this Session"):
        async with barrier.transaction() as session:
            await barrier.action(session, action_context(), must_not_run, returns=int)


def test_another_engine_is_refused(engine: Engine) -> None:
    """What the action changes has to be in the transaction that the row is in."""
    other = create_engine("sqlite://")
    of_sessions = SqlAlchemyBarrier(engine, sessionmaker(other).begin)
    with pytest.raises(BarrierMisuse, match="is of the engine"), of_sessions.transaction() as session:
        of_sessions.action(session, action_context(), take_seat, returns=int)
    of_connections = SqlAlchemyBarrier(engine, other.begin)
    with pytest.raises(BarrierMisuse, match="is of the engine"), of_connections.transaction() as connection:
        of_connections.action(connection, action_context(), insert_seat, returns=int)
    unbound = SqlAlchemyBarrier(engine, sessionmaker(binds={Seat: engine}).begin)
    with pytest.raises(BarrierMisuse, match="has no engine of its own"), unbound.transaction() as session:
        unbound.action(session, action_context(), take_seat, returns=int)
    other.dispose()


def test_the_same_engine_with_other_options_will_do(engine: Engine) -> None:
    barrier = SqlAlchemyBarrier(engine, engine.execution_options(isolation_level="SERIALIZABLE").begin)
    with barrier.transaction() as connection:
        assert barrier.action(connection, action_context(), insert_seat, returns=int) == 4


def test_an_engine_that_commits_every_statement_is_refused(engine: Engine) -> None:
    barrier = SqlAlchemyBarrier(engine, engine.execution_options(isolation_level="AUTOCOMMIT").begin)
    with pytest.raises(BarrierMisuse, match="AUTOCOMMIT"), barrier.transaction() as connection:
        barrier.action(connection, action_context(), insert_seat, returns=int)
    assert seats(engine) == 0


def test_a_session_that_has_begun_by_itself_will_do(engine: Engine) -> None:
    @contextmanager
    def used() -> Iterator[Session]:
        with Session(engine) as session:
            session.execute(text("SELECT 1"))
            yield session
            session.commit()

    barrier = SqlAlchemyBarrier(engine, used)
    with barrier.transaction() as session:
        assert barrier.action(session, action_context(), take_seat, returns=int) == 4
    assert seats(engine) == 1


def test_other_databases_are_refused() -> None:
    engine = create_mock_engine("mssql+mssqlpython://", print)
    with pytest.raises(BarrierMisuse, match="mssql is not among them"):
        SqlAlchemyBarrier(engine)  # type: ignore[call-overload]
