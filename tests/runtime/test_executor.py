import asyncio
import time

from testbed.runtime.executor import Executor


def test_work_is_served_in_the_order_it_came_and_one_at_a_time() -> None:
    async def main() -> list[str]:
        executor, log = Executor(), []

        async def work(name: str) -> None:
            async with executor.turn(0.001):
                log.append(f"{name} begins")
                await asyncio.sleep(0.001)
                log.append(f"{name} ends")

        await asyncio.gather(*(work(name) for name in "abc"))
        return log

    assert asyncio.run(main()) == [f"{name} {what}" for name in "abc" for what in ("begins", "ends")]


def test_the_backlog_holds_what_runs_and_what_waits() -> None:
    async def main() -> None:
        told: list[float] = []
        executor = Executor(told.append)
        release = asyncio.Event()

        async def work(expected_s: float) -> None:
            async with executor.turn(expected_s):
                await release.wait()

        assert executor.backlog_s == 0
        tasks = [asyncio.create_task(work(expected_s)) for expected_s in (100.0, 20.0)]
        await asyncio.sleep(0)
        assert 119 < executor.backlog_s <= 120
        assert abs(told[-1] - time.monotonic() - 120) < 1
        release.set()
        await asyncio.gather(*tasks)
        assert executor.backlog_s == 0

    asyncio.run(main())


def test_who_gives_up_waiting_leaves_no_backlog() -> None:
    async def main() -> float:
        executor = Executor()
        async with executor.turn(0.0):
            waiting = asyncio.create_task(_take(executor))
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        return executor.backlog_s

    assert asyncio.run(main()) == 0


async def _take(executor: Executor) -> None:
    async with executor.turn(50.0):
        pass
