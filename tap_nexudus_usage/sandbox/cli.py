"""The command `nexudus-sandbox`."""

from __future__ import annotations

import inspect
import ssl
from datetime import tzinfo
from typing import Literal, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click

from tap_nexudus_usage.nexudus.entities import ALLOWANCES, ENTITIES
from tap_nexudus_usage.sandbox.faults import Fault
from tap_nexudus_usage.sandbox.pair import tenant_tables
from tap_nexudus_usage.sandbox.tenant import (
    DirReading,
    GetManyForm,
    NextPage,
    Tenant,
    Ties,
    offset,
)
from tap_nexudus_usage.sandbox.throttle import Counting
from tap_nexudus_usage.sandbox.tokens import User
from tap_nexudus_usage.sandbox.turmoil import Turmoil
from tap_nexudus_usage.sandbox.world import World

ROLES = [role for entity in ENTITIES for role in (entity.read_role, entity.list_role)]


def hours_or_zone(value: str) -> tzinfo:
    """A clock, so many hours ahead of UTC or that of a time zone's name."""
    try:
        return offset(float(value))
    except ValueError:
        pass
    try:
        return ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        message = f"{value!r} is no number of hours within a day, nor a time zone."
        raise click.BadParameter(message) from error


FAULT = inspect.cleandoc(Fault.__doc__ or "").partition("Attributes:\n")[2]
"""What a fault may say."""


@click.command(
    context_settings={"show_default": True},
    epilog=f"\b\nWhat a fault may say:\n{FAULT}",
)
@click.option("--port", default=0, help="Port on 127.0.0.1; 0: any that is free.")
@click.option(
    "--certificate",
    type=click.Path(exists=True, dir_okay=False),
    help="File in PEM with a key and its certificate, to serve over https.",
)
@click.option("--records", default=300, help="How many records the ledger has.")
@click.option(
    "--allowances",
    default=100,
    help="How many allowances there are, charges of bookings included. Whatever else the ledger "
    "names is gone.",
)
@click.option("--seed", default=1, help="What the records are generated from.")
@click.option("--username", default=User.username, help="The user's email.")
@click.option("--password", default=User.password, help="The user's password.")
@click.option("--totp-secret", help="Base32 seed; logins then need the current code.")
@click.option(
    "--role",
    "roles",
    type=click.Choice(ROLES),
    multiple=True,
    default=ROLES,
    help="A role the user has, instead of all; may be repeated.",
)
@click.option(
    "--get-many-role",
    type=click.Choice(["Read", "List"]),
    default="Read",
    help="The role that get many needs, of its entity; Nexudus's editions differ.",
)
@click.option(
    "--dir-reading",
    type=click.Choice(["new", "old", "words"]),
    default="new",
    help="What ascends in a search, as dir: 0 (new), 1 (old) or the word ascending (words).",
)
@click.option(
    "--clock",
    type=hours_or_zone,
    metavar="HOURS|ZONE",
    default="0",
    help="In which the bounds of a search are read: hours like +2 or -11.5, or Europe/Lisbon.",
)
@click.option("--page-cap", default=1_000, help="Records that a search page has at most.")
@click.option(
    "--silent-cap/--no-silent-cap",
    default=False,
    help="Count pages by the size asked for, whatever --page-cap.",
)
@click.option(
    "--ties",
    type=click.Choice(["by_id", "turning", "random"]),
    default="by_id",
    help="How records with equal stamps are ordered; turning: the other way on every other page.",
)
@click.option(
    "--next-page",
    type=click.Choice(["rightly", "always", "never", "null"]),
    default="rightly",
    help="What HasNextPage says.",
)
@click.option(
    "--ignore",
    "ignored",
    metavar="PARAMETER",
    multiple=True,
    help="A parameter that is ignored without a word, like page, orderBy or "
    "from_CoworkerExtraServiceUseHistory_UpdatedOn; may be repeated.",
)
@click.option(
    "--get-many-form",
    "get_many_forms",
    type=click.Choice(["array", "filter", "none"]),
    multiple=True,
    default=["array", "filter"],
    help="A form of get many that is understood, /?id=[] (array) or ?…_Id=[] (filter); may be "
    "repeated.",
)
@click.option(
    "--blank-in-lists",
    metavar="FIELD",
    multiple=True,
    help="A field that pages of a search leave empty; may be repeated.",
)
@click.option("--z/--no-z", default=True, help="End date-times in Z.")
@click.option("--turmoil", default=0.0, help="Probability of a change before each search.")
@click.option("--throttle/--no-throttle", default=True, help="Keep to the published limits.")
@click.option(
    "--throttle-answer",
    type=click.Choice(["409", "429"]),
    default="409",
    help="409 with Retry-After, or 429 with the wait in the body's text only.",
)
@click.option(
    "--throttle-counting",
    type=click.Choice(get_args(Counting)),
    default="sliding",
    help="How calls are counted: in any window, in windows of a clock, as tokens, or spaced.",
)
@click.option(
    "--missing-role-status",
    type=click.Choice(["401", "403"]),
    default="401",
    help="What a user without the role is answered.",
)
@click.option("--time-scale", default=1.0, help="Seconds that a second of the throttle lasts.")
@click.option("--latency", default=0.0, help="Seconds before each answer.")
@click.option("--jitter", default=0.0, help="By which share of it that is shorter or longer.")
@click.option("--token-lifetime", default=604_799.0, help="Seconds that access tokens live.")
@click.option("--stop-after", default=3_600.0, help="Seconds after which the sandbox ends itself.")
def main(
    port: int,
    certificate: str | None,
    records: int,
    allowances: int,
    seed: int,
    username: str,
    password: str,
    totp_secret: str | None,
    roles: tuple[str, ...],
    get_many_role: Literal["Read", "List"],
    dir_reading: DirReading,
    clock: tzinfo,
    page_cap: int,
    silent_cap: bool,  # noqa: FBT001 - click passes by name
    ties: Ties,
    next_page: NextPage,
    ignored: tuple[str, ...],
    get_many_forms: tuple[GetManyForm | Literal["none"], ...],
    blank_in_lists: tuple[str, ...],
    z: bool,  # noqa: FBT001 - as above
    turmoil: float,
    throttle: bool,  # noqa: FBT001 - as above
    throttle_answer: str,
    throttle_counting: Counting,
    missing_role_status: str,
    time_scale: float,
    latency: float,
    jitter: float,
    token_lifetime: float,
    stop_after: float,
) -> None:
    """A double of the Nexudus API with generated records, to try tap-nexudus-usage against.

    Serves POST /api/token and, with get one, get many and search, the ledger at
    /api/billing/coworkerextraserviceusehistories and the allowances that it names at
    /api/billing/coworkerextraservices, on a loopback port, which it prints. Steer it over HTTP
    while it runs; <stream> is coworker_extra_service_use_histories or coworker_extra_services:

    \b
      GET    /control/<stream>/records        all records
      POST   /control/<stream>/records        insert one, with the fields given as JSON; a use
                                              lowers what is left of the allowance it names
      PATCH  /control/<stream>/records/<Id>   change fields; UpdatedOn becomes now unless given
      PATCH  /control/<stream>/records        a bulk change: stamp all anew, at random within the
                                              last hour by {"seconds": 3600}
      DELETE /control/<stream>/records/<Id>   delete one
      POST   /control/faults                  let calls go wrong, for example
                                              {"endpoints": ["many"], "status": 500, "times": 3}
      DELETE /control/faults                  let all go well again
      GET    /control/calls                   how many calls came in, and how many connections
      DELETE /control/calls                   forget them; the throttle's allowance is whole again
      GET    /control/calls/each              endpoint, stream and status of each, and its time in
                                              the API's seconds

    With --port 8765 this changes a record, deletes another, and lets three searches fail:

    \b
      uses=http://127.0.0.1:8765/control/coworker_extra_service_use_histories/records
      curl -X PATCH -d '{"CreditUsed": 45}' $uses/10282669
      curl -X DELETE $uses/11235465
      curl -d '{"endpoints": ["search"], "status": 500, "times": 3}' \\
        http://127.0.0.1:8765/control/faults

    The user has all roles, or just those that are named:

    \b
      --role CoworkerExtraService-List        this one and no other

    What a fault may say stands at the end; endpoints are token, me, one, many and search.
    """  # noqa: D301 - click wants the character, not the two
    ledger, table = tenant_tables(records, allowances, seed)
    try:
        from tap_nexudus_usage.sandbox.server import Sandbox  # noqa: PLC0415 - needs the extra
    except ModuleNotFoundError as error:
        message = f"It needs {error.name}: install the tap with its extra, as '.[sandbox]'"
        raise click.ClickException(message) from error
    world = World(
        ledger,
        {ALLOWANCES: table},
        user=User(username, password, totp_secret, frozenset(roles)),
        throttled=throttle,
        time_scale=time_scale,
        latency=latency,
        jitter=jitter,
        get_many_role=get_many_role,
        tenant=Tenant(
            dir_reading=dir_reading,
            clock=clock,
            page_cap=page_cap,
            cap_is_silent=silent_cap,
            ties=ties,
            has_next_page=next_page,
            ignored=frozenset(ignored),
            get_many_forms=frozenset(form for form in get_many_forms if form != "none"),
            blank_in_lists=frozenset(blank_in_lists),
            stamps_end_in_z=z,
            throttle_counting=throttle_counting,
            throttle_answer=409 if throttle_answer == "409" else 429,
            missing_role_status=int(missing_role_status),
        ),
        turmoil=Turmoil(probability=turmoil, seed=seed),
    )
    world.tokens.lifetime = token_lifetime
    try:
        sandbox = Sandbox(world, port, certificate=certificate)
    except ssl.SSLError as error:
        message = f"{certificate} doesn't hold, in PEM, a key with its certificate"
        raise click.ClickException(message) from error
    except OSError as error:
        message = f"Port {port} can't be used: {error.strerror}"
        raise click.ClickException(message) from error
    click.echo(f"Nexudus sandbox listens on {sandbox.url}")
    sandbox.serve(stop_after)
