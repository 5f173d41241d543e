"""`make soak`: many rounds of kills; counts lost and duplicated data, which must both be zero."""

import argparse
import asyncio
import random
import sys
import time
from collections import Counter

from tests.e2e.durability import Kill, Outcome, Trial
from tests.e2e.server import LOG_TAIL, Server


async def soak(rounds: int, kinds: list[Kill], seed: int) -> bool:
    """Run the rounds and print their results; True if nothing went wrong."""
    began_s = time.monotonic()
    outcomes: list[Outcome] = []
    async with Server(NOMADCREW_RATE_LIMITS="off", LOG_LEVEL="warning") as server:
        trial = Trial(server, seed)
        for number, kill in enumerate(kinds * rounds, start=1):
            outcome = await trial.round(kill)
            outcomes.append(outcome)
            _print(f"round {number:>3}/{rounds * len(kinds)}", outcome)
        later = await trial.recheck_all()
        _print("all rounds again", later)
        wrong_notifications = await trial.wrong_notifications()
        errors = len(server.errors)
        lost = [line for outcome in (*outcomes, later) for line in outcome.lost] + wrong_notifications
        duplicates = [line for outcome in (*outcomes, later) for line in outcome.duplicates]
        for line in (*lost, *duplicates):
            print(f"  {line}")
        if errors:
            print(server.log[-LOG_TAIL:])
    statuses = ", ".join(f"{status}: {count}" for status, count in sorted(trial.statuses.items()))
    kills = Counter(outcome.kill.value for outcome in outcomes if outcome.kill)
    print(
        f"\nseed {seed}, {time.monotonic() - began_s:.0f} s\n"
        f"writes = {later.writes}  (without reply: {sum(o.unacknowledged for o in outcomes)})\n"
        f"events expected = {later.expected}, acceptances notified = {later.accepted}\n"
        f"messages acknowledged = {later.messages}, positions acknowledged = {later.positions}\n"
        f"users with votes = {later.votes}, documents acknowledged = {later.documents}\n"
        f"kills = {len(outcomes)}  ({', '.join(f'{name}: {count}' for name, count in kills.items())})\n"
        f"longest downtime = {max((o.downtime_s for o in outcomes), default=0):.1f} s\n"
        f"replies = {statuses}; requests repeated = {trial.repeats}; errors in the log = {errors}\n"
        f"lost = {len(lost)}, duplicates = {len(duplicates)}",
        flush=True,
    )
    return not lost and not duplicates and not errors and not any(s >= 500 and s != 503 for s in trial.statuses)


def _print(label: str, outcome: Outcome) -> None:
    killed = f"{outcome.kill.value} killed, down {outcome.downtime_s:.1f} s, " if outcome.kill else ""
    print(
        f"{label}  {killed}{outcome.writes} writes, {outcome.expected} events expected, "
        f"{outcome.messages} messages, {outcome.positions} positions, {outcome.votes} votes, "
        f"{outcome.documents} documents, "
        f"lost {len(outcome.lost)}, duplicates {len(outcome.duplicates)}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.soak", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, help="rounds of each kind (20)")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="repeat a run's decisions")
    parser.add_argument(
        "--kill", type=Kill, choices=list(Kill), action="append", help="what to kill: host, postgres, both; all"
    )
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    sys.exit(not asyncio.run(soak(arguments.rounds, arguments.kill or list(Kill), arguments.seed)))


if __name__ == "__main__":
    main()
