"""One run: a connection, what is read over it, and which entities could not be read."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

from tap_nexudus_usage.errors import StreamsFailedError, TapError
from tap_nexudus_usage.nexudus.connection import Connection
from tap_nexudus_usage.nexudus.entities import Entity
from tap_nexudus_usage.nexudus.transport import OnAnswer
from tap_nexudus_usage.run.named import Asked, Named
from tap_nexudus_usage.run.progress import Progress
from tap_nexudus_usage.run.surroundings import Surroundings
from tap_nexudus_usage.settings.checked import Settings


class Run:
    """What the readings of several entities have in common.

    Attributes:
        named: the Ids that records of this run name.
        on_answer: is told of each answer of the API.
    """

    def __init__(
        self,
        surroundings: Surroundings,
        entities: Sequence[Entity],
        connection: Connection,
        progress: Progress,
        replaced: Collection[Entity],
    ) -> None:
        """`entities` are those to be read, in this order; `replaced` as in `running`."""
        self.connection = connection
        self.progress = progress
        self.named = Named(entities)
        self.on_answer: OnAnswer = _ignore
        self._surroundings = surroundings
        self._entities = entities
        self._replaced = replaced
        self._failures: dict[Entity, TapError] = {}

    @property
    def settings(self) -> Settings:
        """The settings of the run."""
        return self._surroundings.settings

    def asked(self, entity: Entity) -> Asked | None:
        """The Ids of an entity to read, None where it is to be searched."""
        if not self.settings.record_ids:
            return None
        if entity.named_by is None:
            return Asked(self.settings.record_ids)
        return self.named.asked(entity)

    def decides_on_table(self, entity: Entity) -> bool:
        """Whether a record of an entity that doesn't come may cost rows of a target's tables.

        These are its own, and those that it is the one to name.
        """
        sources = {e.named_by.entity for e in self._replaced if e.named_by is not None}
        return entity in self._replaced or entity in sources

    def raise_if_stopped(self) -> None:
        """Raise Terminated where a signal has asked for the end."""
        self._surroundings.termination.raise_if_asked()

    def on_poll(self) -> None:
        """What is to be done now and then while waiting; raises Terminated."""
        self.raise_if_stopped()
        self.progress.tick()
        self._surroundings.flush()

    def leave_out(self, entity: Entity, error: TapError) -> None:
        """Go on without an entity that can't be read, or not wholly; `finish` will say so.

        Raises the error again where it concerns all entities.
        """
        if error.concerns_all:
            raise error
        self._failures[entity] = error

    def finish(self) -> None:
        """Raise what some entity couldn't be read for."""
        if len(self._entities) == 1:
            for error in self._failures.values():
                raise error
        if self._failures:
            errors = {entity.stream: error for entity, error in self._failures.items()}
            dispensable = [e.stream for e in self._failures if self._works_without(e)]
            raise StreamsFailedError(errors, dispensable=dispensable)

    def _works_without(self, failed: Entity) -> bool:
        """Whether a run that isn't to read an entity, which has failed, would do better."""
        others = [entity for entity in self._entities if entity != failed]
        is_needed = any(
            self.asked(entity) is not None
            and entity.named_by is not None
            and entity.named_by.entity == failed
            for entity in others
        )
        return not is_needed and any(entity not in self._failures for entity in others)


@contextmanager
def running(
    surroundings: Surroundings, entities: Sequence[Entity], replaced: Collection[Entity] = ()
) -> Iterator[Run]:
    """A run that reads some entities; when it is left, no call is begun any more.

    Of those `replaced`, a target may delete what it has besides the records of a complete read.
    Raises the TapError of what couldn't be read, and SettingsError where what the environment says
    of the way to the API can't be used.
    """

    def on_answer(endpoint: str, status: int, seconds: float) -> None:
        run.on_answer(endpoint, status, seconds)

    with surroundings.connect(on_answer) as connection, Progress(connection) as progress:
        run = Run(surroundings, entities, connection, progress, replaced)
        yield run
    run.finish()


def _ignore(endpoint: str, status: int, seconds: float) -> None:
    """Do nothing with an answer that belongs to no entity."""
