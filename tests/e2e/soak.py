"""`make soak`: many rounds of kills, and the count of what they lost, which has to be nothing."""

import argparse
import asyncio
import random
import sys
import time
from collections import Counter

from tests.e2e.durability import Kill, Outcome, Trial
from tests.e2e.server import LOG_TAIL, Server


async def soak(rounds: int, kinds: list[Kill], seed: int) -> bool:
    """Run the rounds and say how they went; True if nothing went wrong."""
    began_s = time.monotonic()
    outcomes: list[Outcome] = []
    async with Server(NOMADCREW_RATE_LIMITS="off", LOG_LEVEL="warning") as server:
        trial = Trial(server, seed)
        for number, kill in enumerate(kinds * rounds, start=1):
            outcome = await trial.round(kill)
            outcomes.append(outcome)
            _say(f"round {number:>3}/{rounds * len(kinds)}", outcome)
        later = await trial.everything_again()
        _say("everything again", later)
        untold = await trial.notified()
        errors = len(server.errors)
        lost = [line for outcome in (*outcomes, later) for line in outcome.lost] + untold
        doubled = [line for outcome in (*outcomes, later) for line in outcome.doubled]
        for line in (*lost, *doubled):
            print(f"  {line}")
        if errors:
            print(server.log[-LOG_TAIL:])
    statuses = ", ".join(f"{status}: {count}" for status, count in sorted(trial.statuses.items()))
    kills = Counter(outcome.kill.value for outcome in outcomes if outcome.kill)
    print(
        f"\nseed {seed}, {time.monotonic() - began_s:.0f} s\n"
        f"writes = {later.writes}  (sent and never acknowledged: {sum(o.unacknowledged for o in outcomes)})\n"
        f"events owed = {later.owed}, acceptances notified = {later.accepted}\n"
        f"messages acknowledged = {later.messages}, positions acknowledged = {later.positions}\n"
        f"kills = {len(outcomes)}  ({', '.join(f'{name}: {count}' for name, count in kills.items())})\n"
        f"longest away = {max((o.away_s for o in outcomes), default=0):.1f} s\n"
        f"replies = {statuses}; requests repeated = {trial.repeats}; errors in the log = {errors}\n"
        f"lost = {len(lost)}, doubled = {len(doubled)}",
        flush=True,
    )
    return not lost and not doubled and not errors and not any(s >= 500 and s != 503 for s in trial.statuses)


def _say(where: str, outcome: Outcome) -> None:
    killed = f"{outcome.kill.value} killed, away {outcome.away_s:.1f} s, " if outcome.kill else ""
    print(
        f"{where}  {killed}{outcome.writes} writes, {outcome.owed} events owed, "
        f"{outcome.messages} messages, {outcome.positions} positions, "
        f"lost {len(outcome.lost)}, doubled {len(outcome.doubled)}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.soak", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, help="rounds of each kind (20)")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="repeat a run's decisions")
    parser.add_argument(
        "--kill", type=Kill, choices=list(Kill), action="append", help="what to kill: host, postgres, both; all"
    )
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    sys.exit(not asyncio.run(soak(given.rounds, given.kill or list(Kill), given.seed)))


if __name__ == "__main__":
    main()
