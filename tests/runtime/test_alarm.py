import asyncio
import time

import pytest

from testbed.runtime.alarm import Alarm


def test_sleepers_wake_at_their_instants_and_not_before() -> None:
    async def main() -> list[tuple[int, float]]:
        alarm, woken = Alarm(), []
        begin_s = time.monotonic()

        async def sleeper(milliseconds: int) -> None:
            instant_s = begin_s + milliseconds / 1e3
            await alarm.until(instant_s)
            woken.append((milliseconds, time.monotonic() - instant_s))

        await asyncio.gather(*map(sleeper, (30, 10, 20, 10)))
        alarm.close()
        return woken

    woken = asyncio.run(main())
    assert [milliseconds for milliseconds, _ in woken] == [10, 10, 20, 30]
    assert all(lateness_s >= 0 for _, lateness_s in woken)


def test_the_past_is_no_sleep() -> None:
    async def main() -> None:
        alarm = Alarm()
        await alarm.until(time.monotonic() - 1)
        alarm.close()

    asyncio.run(asyncio.wait_for(main(), 5))


def test_closing_cancels_who_still_sleeps() -> None:
    async def main() -> None:
        alarm = Alarm()
        task = asyncio.create_task(alarm.until(time.monotonic() + 60))
        await asyncio.sleep(0)
        alarm.close()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
