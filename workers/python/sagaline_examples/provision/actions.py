"""The actions, and how each is undone. Every change goes through `once`, so that it happens once and undo wins."""

from __future__ import annotations

import asyncio
import sqlite3
from datetime import timedelta

from sagaline import Context, Failed, Retry, action
from sagaline_examples.effects import once
from sagaline_examples.inventory import ARRAYS, NETWORKS, SERVERS, Holder, give_back, inventory, take
from sagaline_examples.provision.values import (
    Address,
    Attachment,
    Choice,
    Configuration,
    FleetPlan,
    FleetRequest,
    Instance,
    Machine,
    Need,
    Reservation,
    Trouble,
    Vm,
    VmRequest,
    Volume,
)

NETWORK = "network-1"
ARRAY = "array-1"

BUSY_DELAY = timedelta(milliseconds=50)
BOOT_PARTS = 10
BOOT_PART_S = 0.05


@action("provision.create_instance")
@once
def create_instance(db: sqlite3.Connection, context: Context, request: VmRequest) -> Instance:
    db.execute("INSERT INTO instances (saga, name, state) VALUES (?, ?, 'NEW')", (context.saga_id, request.name))
    return Instance(request.name)


@create_instance.undo
@once
def delete_instance(db: sqlite3.Connection, context: Context) -> None:
    db.execute("DELETE FROM instances WHERE saga = ?", (context.saga_id,))


@action("provision.allocate_address")
@once
def allocate_address(db: sqlite3.Connection, context: Context, instance: Instance) -> Address:
    number = take(db, NETWORKS, NETWORK, Holder.of(context))
    db.execute("UPDATE addresses SET host = ? WHERE saga = ?", (instance.name, context.saga_id))
    return Address(f"10.0.{number // 256}.{number % 256}")


@allocate_address.undo
@once
def release_address(db: sqlite3.Connection, context: Context) -> None:
    give_back(db, NETWORKS, Holder.of(context))


@action("provision.create_volume")
def create_volume(context: Context, size_gb: int, trouble: Trouble) -> Volume:
    flaky = trouble is Trouble.VOLUME_FLAKY
    if flaky and context.attempt == 1:
        raise Retry("ArrayBusy", f"{ARRAY} does not answer", BUSY_DELAY)
    volume = take_volume(context, size_gb, trouble)
    if flaky and context.attempt == 2:  # noqa: PLR2004 - the first attempt is dealt with above
        raise Retry("AnswerLost", "the volume is there, and nobody was told of it", BUSY_DELAY)
    return volume


@once
def take_volume(db: sqlite3.Connection, context: Context, size_gb: int, trouble: Trouble) -> Volume:
    number = take(db, ARRAYS, ARRAY, Holder.of(context), size_gb)
    if trouble is Trouble.UNDO_FAILS:
        db.execute("UPDATE volumes SET locked = 1 WHERE saga = ?", (context.saga_id,))
    return Volume(ARRAY, number, size_gb)


@create_volume.undo
@once
def delete_volume(db: sqlite3.Connection, context: Context) -> None:
    holder = Holder.of(context)
    row = db.execute("SELECT locked FROM volumes WHERE saga = ? AND node = ?", (holder.saga, holder.node)).fetchone()
    if row is not None and row[0]:
        raise Failed("VolumeLocked", "a backup holds the volume; unlock it, then try again")
    give_back(db, ARRAYS, holder)


@action("provision.pick_server")
def pick_server(need: Need) -> Choice:
    """Only looks, so there is nothing to undo.

    Any server with room will do: the emptiest one would be the answer to everybody who asks at this moment.
    """
    with inventory().snapshot() as db:
        row = db.execute(
            "SELECT name FROM servers WHERE name LIKE ? || '/%' AND free >= ? ORDER BY random() LIMIT 1",
            (need.zone, need.cores),
        ).fetchone()
    if row is None:
        raise Failed("NoCapacity", f"no server in zone {need.zone} has {need.cores} cores free")
    return Choice(row[0])


@action("provision.reserve_server")
@once
def reserve_server(db: sqlite3.Connection, context: Context, choice: Choice, cores: int) -> Reservation:
    take(db, SERVERS, choice.server, Holder.of(context), cores)
    return Reservation(choice.server, cores)


@reserve_server.undo
@once
def release_server(db: sqlite3.Connection, context: Context) -> None:
    give_back(db, SERVERS, Holder.of(context))


@action("provision.plan_fleet")
def plan_fleet(request: FleetRequest) -> FleetPlan:
    """Changes nothing, so there is nothing to undo."""
    return FleetPlan([Need(cores=request.cores)] * request.machines, Need(cores=1))


@action("provision.name_machine")
def name_machine(reservation: Reservation, fleet: str, number: int) -> Machine:
    """Changes nothing, so there is nothing to undo."""
    return Machine(f"{fleet}-{number}", reservation.server)


@action("provision.configure")
@once
def configure(db: sqlite3.Connection, context: Context, address: Address, reservation: Reservation) -> Configuration:
    db.execute(
        "UPDATE instances SET state = 'CONFIGURED', address = ?, server = ? WHERE saga = ?",
        (address.ip, reservation.server, context.saga_id),
    )
    return Configuration(address.ip, reservation.server)


@configure.undo
@once
def forget_configuration(db: sqlite3.Connection, context: Context) -> None:
    db.execute("UPDATE instances SET state = 'NEW', address = NULL, server = NULL WHERE saga = ?", (context.saga_id,))


@action("provision.attach_volume")
@once
def attach_volume(db: sqlite3.Connection, context: Context, instance: Instance, volume: Volume) -> Attachment:
    db.execute("UPDATE volumes SET attached_to = ? WHERE saga = ?", (instance.name, context.saga_id))
    return Attachment(f"/dev/disk/{volume.array}-{volume.number}")


@attach_volume.undo
@once
def detach_volume(db: sqlite3.Connection, context: Context) -> None:
    db.execute("UPDATE volumes SET attached_to = NULL WHERE saga = ?", (context.saga_id,))


@action("provision.boot")
async def boot(context: Context, instance: Instance, configuration: Configuration, trouble: Trouble) -> Vm:
    if trouble is Trouble.SLOW:
        for part in range(BOOT_PARTS):
            context.heartbeat(part)
            await asyncio.sleep(BOOT_PART_S)
    return await asyncio.to_thread(start, context, instance, configuration, trouble)


@once
def start(
    db: sqlite3.Connection, context: Context, instance: Instance, configuration: Configuration, trouble: Trouble
) -> Vm:
    if trouble in {Trouble.BOOT_FAILS, Trouble.UNDO_FAILS}:
        raise Failed("BootFailed", f"{instance.name} has no boot loader")
    db.execute("UPDATE instances SET state = 'RUNNING' WHERE saga = ?", (context.saga_id,))
    return Vm(instance.name, configuration.ip, configuration.server)


@boot.undo
async def shut_down(context: Context) -> None:
    await asyncio.to_thread(stop, context)


@once
def stop(db: sqlite3.Connection, context: Context) -> None:
    db.execute("UPDATE instances SET state = 'CONFIGURED' WHERE saga = ?", (context.saga_id,))


ACTIONS = (
    create_instance,
    allocate_address,
    create_volume,
    pick_server,
    reserve_server,
    plan_fleet,
    name_machine,
    configure,
    attach_volume,
    boot,
)
