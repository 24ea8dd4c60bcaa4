import threading

import pytest

from fer._pool import Pool


def test_one_thread_gets_the_same_one_again():
    made = []
    pool = Pool(lambda: made.append(object()) or made[-1], 4)
    for _ in range(3):
        with pool.lend() as thing:
            assert thing is made[0]
    assert len(made) == 1


def test_no_two_threads_have_the_same_and_there_are_no_more_than_allowed():
    made, lent, clashes = [], set(), []
    together = threading.Barrier(3, timeout=10)

    def work():
        for turn in range(30):
            with pool.lend() as thing:
                if thing in lent:
                    clashes.append(thing)
                lent.add(thing)
                if turn == 0:
                    together.wait()  # passes only if three are lent at once
                lent.discard(thing)

    pool = Pool(lambda: made.append(object()) or made[-1], 3)
    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not clashes
    assert len(made) == 3


def test_one_comes_back_from_a_thread_that_failed():
    pool = Pool(object, 1)
    with pytest.raises(ZeroDivisionError), pool.lend():
        raise ZeroDivisionError
    with pool.lend() as thing:
        assert thing is not None


def test_what_is_wrong_with_the_first_is_said_at_once():
    with pytest.raises(ZeroDivisionError):
        Pool(lambda: 1 / 0, 2)
