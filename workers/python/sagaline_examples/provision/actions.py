"""The actions, and how each is undone. Every change goes through `effects`, so that it happens once and undo wins."""

from __future__ import annotations

import asyncio
import sqlite3
from datetime import timedelta

from sagaline import Context, Failed, Retry, action
from sagaline_examples import effects
from sagaline_examples.effects import EffectKey
from sagaline_examples.inventory import ARRAYS, NETWORKS, SERVERS, give_back, inventory, take
from sagaline_examples.provision.values import (
    Address,
    Attachment,
    Choice,
    Configuration,
    Instance,
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


def key_of(context: Context) -> EffectKey:
    return EffectKey(context.saga_id, context.node)


@action("provision.create_instance")
def create_instance(context: Context, request: VmRequest) -> Instance:
    def change(db: sqlite3.Connection) -> Instance:
        db.execute("INSERT INTO instances (saga, name, state) VALUES (?, ?, 'NEW')", (context.saga_id, request.name))
        return Instance(request.name)

    return effects.act(inventory(), key_of(context), change, Instance)


@create_instance.undo
def delete_instance(context: Context) -> None:
    def undo(db: sqlite3.Connection) -> None:
        db.execute("DELETE FROM instances WHERE saga = ?", (context.saga_id,))

    effects.reverse(inventory(), key_of(context), undo)


@action("provision.allocate_address")
async def allocate_address(context: Context, instance: Instance) -> Address:
    def change(db: sqlite3.Connection) -> Address:
        number = take(db, NETWORKS, NETWORK, key_of(context))
        db.execute("UPDATE addresses SET host = ? WHERE saga = ?", (instance.name, context.saga_id))
        return Address(f"10.0.{number // 256}.{number % 256}")

    return await asyncio.to_thread(effects.act, inventory(), key_of(context), change, Address)


@allocate_address.undo
async def release_address(context: Context) -> None:
    def undo(db: sqlite3.Connection) -> None:
        give_back(db, NETWORKS, key_of(context))

    await asyncio.to_thread(effects.reverse, inventory(), key_of(context), undo)


@action("provision.create_volume")
def create_volume(context: Context, size_gb: int, trouble: Trouble) -> Volume:
    flaky = trouble is Trouble.VOLUME_FLAKY
    if flaky and context.attempt == 1:
        raise Retry("ArrayBusy", f"{ARRAY} does not answer", BUSY_DELAY)

    def change(db: sqlite3.Connection) -> Volume:
        number = take(db, ARRAYS, ARRAY, key_of(context), size_gb)
        if trouble is Trouble.UNDO_FAILS:
            db.execute("UPDATE volumes SET locked = 1 WHERE saga = ?", (context.saga_id,))
        return Volume(ARRAY, number, size_gb)

    volume = effects.act(inventory(), key_of(context), change, Volume)
    if flaky and context.attempt == 2:  # noqa: PLR2004 - the first attempt is dealt with above
        raise Retry("AnswerLost", "the volume is there, and nobody was told of it", BUSY_DELAY)
    return volume


@create_volume.undo
def delete_volume(context: Context) -> None:
    def undo(db: sqlite3.Connection) -> None:
        key = key_of(context)
        row = db.execute("SELECT locked FROM volumes WHERE saga = ? AND node = ?", (key.saga, key.node)).fetchone()
        if row is not None and row[0]:
            raise Failed("VolumeLocked", "a backup holds the volume; unlock it, then try again")
        give_back(db, ARRAYS, key)

    effects.reverse(inventory(), key_of(context), undo)


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
def reserve_server(context: Context, choice: Choice, cores: int) -> Reservation:
    def change(db: sqlite3.Connection) -> Reservation:
        take(db, SERVERS, choice.server, key_of(context), cores)
        return Reservation(choice.server, cores)

    return effects.act(inventory(), key_of(context), change, Reservation)


@reserve_server.undo
def release_server(context: Context) -> None:
    def undo(db: sqlite3.Connection) -> None:
        give_back(db, SERVERS, key_of(context))

    effects.reverse(inventory(), key_of(context), undo)


@action("provision.configure")
async def configure(context: Context, address: Address, reservation: Reservation) -> Configuration:
    def change(db: sqlite3.Connection) -> Configuration:
        db.execute(
            "UPDATE instances SET state = 'CONFIGURED', address = ?, server = ? WHERE saga = ?",
            (address.ip, reservation.server, context.saga_id),
        )
        return Configuration(address.ip, reservation.server)

    return await asyncio.to_thread(effects.act, inventory(), key_of(context), change, Configuration)


@configure.undo
async def forget_configuration(context: Context) -> None:
    def undo(db: sqlite3.Connection) -> None:
        db.execute(
            "UPDATE instances SET state = 'NEW', address = NULL, server = NULL WHERE saga = ?", (context.saga_id,)
        )

    await asyncio.to_thread(effects.reverse, inventory(), key_of(context), undo)


@action("provision.attach_volume")
def attach_volume(context: Context, instance: Instance, volume: Volume) -> Attachment:
    def change(db: sqlite3.Connection) -> Attachment:
        db.execute("UPDATE volumes SET attached_to = ? WHERE saga = ?", (instance.name, context.saga_id))
        return Attachment(f"/dev/disk/{volume.array}-{volume.number}")

    return effects.act(inventory(), key_of(context), change, Attachment)


@attach_volume.undo
def detach_volume(context: Context) -> None:
    def undo(db: sqlite3.Connection) -> None:
        db.execute("UPDATE volumes SET attached_to = NULL WHERE saga = ?", (context.saga_id,))

    effects.reverse(inventory(), key_of(context), undo)


@action("provision.boot")
async def boot(context: Context, instance: Instance, configuration: Configuration, trouble: Trouble) -> Vm:
    if trouble is Trouble.SLOW:
        for part in range(BOOT_PARTS):
            context.heartbeat(part)
            await asyncio.sleep(BOOT_PART_S)

    def change(db: sqlite3.Connection) -> Vm:
        if trouble in {Trouble.BOOT_FAILS, Trouble.UNDO_FAILS}:
            raise Failed("BootFailed", f"{instance.name} has no boot loader")
        db.execute("UPDATE instances SET state = 'RUNNING' WHERE saga = ?", (context.saga_id,))
        return Vm(instance.name, configuration.ip, configuration.server)

    return await asyncio.to_thread(effects.act, inventory(), key_of(context), change, Vm)


@boot.undo
async def shut_down(context: Context) -> None:
    def undo(db: sqlite3.Connection) -> None:
        db.execute("UPDATE instances SET state = 'CONFIGURED' WHERE saga = ?", (context.saga_id,))

    await asyncio.to_thread(effects.reverse, inventory(), key_of(context), undo)


ACTIONS = (
    create_instance,
    allocate_address,
    create_volume,
    pick_server,
    reserve_server,
    configure,
    attach_volume,
    boot,
)
