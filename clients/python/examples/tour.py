"""Plan a trip and follow it until a to-do says "Home": python tour.py ADDRESS NAME PASSWORD"""

import asyncio
import sys
from contextlib import aclosing

from nomadcrew_client import AsyncClient, Client, Tokens, models


def plan(address: str, name: str, password: str) -> tuple[str, Tokens | None]:
    with Client(address) as client:
        client.register(models.RegisterIn(email=f"{name}@example.org", username=name, password=password))
        trip = client.create_trip(
            models.NewTripIn(
                name="Porto by train",
                start_date="2027-05-01T00:00:00Z",
                end_date="2027-05-09T00:00:00Z",
                destination_address="Porto, PT",
                destination_latitude=41.15,
                destination_longitude=-8.61,
            )
        )
        return trip.id, client.tokens


async def follow(address: str, trip_id: str, tokens: Tokens | None) -> None:
    async with AsyncClient(address, tokens) as client, aclosing(client.events()) as events:
        await client.create_todo(trip_id, models.NewTodoIn(text="Book the sleeper"))
        await client.send_message(trip_id, models.NewMessageIn(content="The sleeper leaves at 21:40"))
        async for event in events:
            print(event.type, event.id, flush=True)
            if event.type == "TODO_CREATED" and event.payload["text"] == "Home":
                break


address, name, password = sys.argv[1:]
asyncio.run(follow(address, *plan(address, name, password)))
