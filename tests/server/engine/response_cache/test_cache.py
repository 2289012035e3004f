"""What is kept of earlier answers: within its bound, the least recently used goes first, owners apart."""

from __future__ import annotations

import threading
from collections import OrderedDict

from hypothesis import given
from hypothesis import strategies as st

from sardonyx_server.engine.requests.outputs import RequestOutputs
from sardonyx_server.engine.response_cache.cache import ResponseCache, size_bytes

OWNER, OTHER = object(), object()


def outputs(size: int = 0, count: int = 1) -> RequestOutputs:
    """Outputs of so many bytes each."""
    return RequestOutputs(((size,),) * count, [bytes(size)] * count, began_s=0.0, ran_s=0.0)


def key(number: int) -> bytes:
    """Of one request."""
    return bytes([number])


EMPTY_BYTES = size_bytes(outputs())


def test_what_is_kept_is_found_under_its_key_and_owner() -> None:
    """The same request to another version is another request."""
    cache, kept = ResponseCache(10**6), outputs(5)
    cache.put(OWNER, key(1), kept)
    assert cache.get(OWNER, key(1)) is kept
    assert cache.get(OTHER, key(1)) is None
    assert cache.get(OWNER, key(2)) is None


def test_the_least_recently_used_goes_first() -> None:
    """Being found counts as being used."""
    cache = ResponseCache(3 * EMPTY_BYTES)
    for number in range(3):
        cache.put(OWNER, key(number), outputs())
    cache.get(OWNER, key(0))
    cache.put(OWNER, key(3), outputs())
    assert [number for number in range(4) if cache.get(OWNER, key(number))] == [0, 2, 3]


def test_the_objects_around_an_answer_count_too() -> None:
    """Or answers without data would be kept without end."""
    assert size_bytes(outputs(7, count=3)) > size_bytes(outputs(7)) > 7
    cache = ResponseCache(10 * EMPTY_BYTES)
    for number in range(100):
        cache.put(OWNER, key(number), outputs())
    assert len(cache) == 10


def test_one_answer_does_not_push_out_all_others() -> None:
    """An eighth of the bound is the largest."""
    cache = ResponseCache(8 * EMPTY_BYTES + 80)
    assert cache.fits(outputs(10))
    assert not cache.fits(outputs(11))


def test_a_new_answer_takes_the_place_of_an_old_one() -> None:
    """It is not accounted for twice."""
    cache = ResponseCache(10**6)
    cache.put(OWNER, key(1), outputs(500))
    cache.put(OWNER, key(1), outputs(3))
    assert (len(cache), cache.used_bytes) == (1, EMPTY_BYTES + 3)


def test_an_owner_takes_all_of_its_answers_along() -> None:
    """Nobody else's."""
    cache = ResponseCache(10**6)
    for number in range(5):
        cache.put(OWNER, key(number), outputs(number))
        cache.put(OTHER, key(number), outputs(number))
    cache.drop(OWNER)
    assert [cache.get(OWNER, key(number)) for number in range(5)] == [None] * 5
    assert all(cache.get(OTHER, key(number)) for number in range(5))
    cache.drop(OTHER)
    assert (len(cache), cache.used_bytes) == (0, 0)


def test_a_copy_holds_no_batch() -> None:
    """A view of ten bytes would keep all of it in memory."""
    batch = bytes(10**6)
    copied = RequestOutputs(((10,),), [memoryview(batch)[:10]], began_s=1.0, ran_s=2.0).copy()
    (data,) = copied.rows(0, 1)
    assert type(data) is bytes
    assert (len(data), copied.data_bytes, copied.began_s, copied.ran_s) == (10, 10, 1.0, 2.0)


steps = st.lists(
    st.tuples(st.sampled_from(["put", "get", "drop"]), st.booleans(), st.integers(0, 6), st.integers(0, 900)),
    max_size=60,
)


@given(steps=steps)
def test_it_is_a_bounded_mapping_in_the_order_of_use(steps: list[tuple[str, bool, int, int]]) -> None:
    """Held against a model of a few lines."""
    limit = 4000
    cache = ResponseCache(limit)
    model: OrderedDict[tuple[bool, bytes], RequestOutputs] = OrderedDict()
    for what, mine, number, size in steps:
        owner, place = (OWNER if mine else OTHER), (mine, key(number))
        if what == "put":
            model.pop(place, None)
            model[place] = outputs(size)
            cache.put(owner, place[1], model[place])
            while sum(map(size_bytes, model.values())) > limit:
                model.popitem(last=False)
        elif what == "get":
            assert cache.get(owner, place[1]) is model.get(place)
            if place in model:
                model.move_to_end(place)
        else:
            cache.drop(owner)
            for gone in [each for each in model if each[0] is mine]:
                del model[gone]
        assert len(cache) == len(model)
        assert cache.used_bytes == sum(map(size_bytes, model.values())) <= limit


def test_threads_may_use_it_at_once() -> None:
    """The account is right in the end."""
    cache = ResponseCache(20 * EMPTY_BYTES)
    owners = [object() for _ in range(4)]

    def work(owner: object) -> None:
        for round_ in range(500):
            cache.put(owner, key(round_ % 16), outputs(round_ % 64))
            cache.get(owners[round_ % 4], key(round_ % 16))
            if round_ % 100 == 99:
                cache.drop(owner)

    threads = [threading.Thread(target=work, args=(owner,)) for owner in owners]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for owner in owners:
        cache.drop(owner)
    assert (len(cache), cache.used_bytes) == (0, 0)
