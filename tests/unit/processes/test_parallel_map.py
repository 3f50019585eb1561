"""Results of processes as they are done; ``test_phantom_processes.py`` tells how processes end."""

from __future__ import annotations

import multiprocessing
import time

import pytest

from nnunetv2_cfseg.processes.parallel_map import parallel_map


class TestOneProcess:
    def test_yields_in_order(self) -> None:
        assert list(parallel_map(abs, [-2, 1, -3], num_processes=1)) == [2, 1, 3]

    def test_begins_a_job_when_its_result_is_asked_for(self) -> None:
        begun: list[int] = []
        results = parallel_map(begun.append, [1, 2, 3], num_processes=1)
        assert begun == []
        next(results)
        assert begun == [1]


@pytest.mark.slow
class TestSeveralProcesses:
    def test_yield_each_result(self) -> None:
        assert sorted(parallel_map(abs, [-2, 1, -3], num_processes=2)) == [1, 2, 3]

    def test_yield_what_is_done_first(self) -> None:
        assert next(parallel_map(time.sleep, [60, 0], num_processes=2)) is None

    def test_raise_what_the_function_raises(self) -> None:
        with pytest.raises(ValueError, match="could not convert string"):
            list(parallel_map(float, ["1", "one"], num_processes=2))
        assert_all_end()

    def test_end_when_the_iterator_is_closed(self) -> None:
        results = parallel_map(time.sleep, [0, 60, 60, 60], num_processes=2)
        next(results)
        assert multiprocessing.active_children()
        results.close()
        assert_all_end()

    def test_end_when_an_error_leaves_the_loop(self) -> None:
        def work() -> None:
            for _ in parallel_map(time.sleep, [0, 60, 60, 60], num_processes=2):
                raise KeyError("in the loop")

        with pytest.raises(KeyError):
            work()
        assert_all_end()


def assert_all_end() -> None:
    end = time.monotonic() + 20
    while multiprocessing.active_children():
        assert time.monotonic() < end
        time.sleep(0.05)
