"""Events reach every observer once and in order, whoever tells them, and what must be told before it goes on is."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest

from ikoma_play.engine.telling import Telling
from ikoma_play.events import Event, Warned

THREADS, EACH = 12, 300


def event(who: int, number: int) -> Warned:
    return Warned("run", float(number), str(who))


class Single:
    def __init__(self) -> None:
        self.told: list[Any] = []
        self.inside = 0

    def __call__(self, event: Event) -> None:
        self.many((event,))

    def take(self, events: Sequence[Event]) -> None:
        self.inside += 1
        assert self.inside == 1, "two threads tell at once"
        self.told += events
        self.inside -= 1

    many = take


class OneByOne(Single):
    many = None  # type: ignore[assignment]

    def __call__(self, event: Event) -> None:
        self.take((event,))


@pytest.mark.parametrize("wait", [True, False])
def test_each_event_is_told_once_and_in_order(wait: bool) -> None:
    observers = [Single(), OneByOne()]
    telling = Telling(observers, threading.Event())
    late: list[int] = []

    def work(who: int) -> None:
        for number in range(EACH):
            mine = event(who, number)
            telling.tell(mine, wait)
            if wait and not all(any(each is mine for each in observer.told[-2000:]) for observer in observers):
                late.append(number)

    threads = [threading.Thread(target=work, args=(who,)) for who in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    telling.end()
    assert not late, "some went on before their event was told"
    for observer in observers:
        assert len(observer.told) == THREADS * EACH
        for who in range(THREADS):
            numbers = [each.at for each in observer.told if each.message == str(who)]
            assert numbers == sorted(numbers)
    assert observers[0].told == observers[1].told


def test_what_nobody_waits_for_is_told_in_one_go_with_what_comes_soon() -> None:
    goes: list[list[float]] = []

    class Counting(Single):
        def take(self, events: Sequence[Event]) -> None:
            super().take(events)
            goes.append([each.at for each in events])

        many = take

    telling = Telling([Counting()], threading.Event())
    for number in range(3):
        telling.tell(event(0, number), wait=False)
    telling.tell(event(0, 3))
    assert goes == [[0, 1, 2, 3]], "whoever waits tells the rest as well"
    telling.tell(event(0, 4), wait=False)
    telling.tell(event(0, 5), wait=False)
    until = time.monotonic() + 60
    while len(goes) == 1 and time.monotonic() < until:
        time.sleep(0.001)
    assert goes[1:] == [[4, 5]], "what nobody waits for is told all the same"


def test_nothing_is_left_at_the_end_and_nobody_goes_on_telling() -> None:
    single = Single()
    telling = Telling([single], threading.Event())
    telling.tell(event(0, 1), wait=False)
    teller = telling._teller
    assert teller is not None
    telling.end()
    assert [each.at for each in single.told] == [1]
    teller.join(60)
    assert not teller.is_alive()


def test_what_one_observer_tells_in_turn_is_told_too() -> None:
    plain = Single()
    telling: Telling

    def echo(event: Event) -> None:
        if isinstance(event, Warned) and event.message == "0":
            telling.tell(Warned("run", event.at, "echo"))

    telling = Telling([echo, plain], threading.Event())
    telling.tell(event(0, 1))
    assert sorted(each.message for each in plain.told) == ["0", "echo"]


def test_an_observer_that_fails_is_told_nothing_further_and_the_others_are() -> None:
    stopping, plain, calls = threading.Event(), Single(), []

    def broken(event: Event) -> None:
        calls.append(event)
        raise OSError("no disk")

    telling = Telling([broken, plain], stopping)
    telling.tell(event(0, 1))
    telling.tell(event(0, 2))
    assert len(calls) == 1 and len(plain.told) == 2
    assert isinstance(telling.error, OSError) and stopping.is_set()


def test_what_settles_late_fails_like_the_rest() -> None:
    class Late(Single):
        def settle(self) -> None:
            raise OSError("no disk")

    late, stopping = Late(), threading.Event()
    telling = Telling([late], stopping)
    telling.tell(event(0, 1))
    telling.settle()
    telling.tell(event(0, 2))
    assert len(late.told) == 1 and isinstance(telling.error, OSError) and stopping.is_set()
