// Plan a trip and follow it until a to-do says "Home": node tour.ts ADDRESS NAME PASSWORD
import { Client } from "nomadcrew-client";

declare const process: { argv: string[] };

const [, , address = "", name = "", password = ""] = process.argv;
const client = new Client(address);
await client.register({ email: `${name}@example.org`, username: name, password });
const trip = await client.createTrip({
  name: "Porto by train",
  startDate: "2027-05-01T00:00:00Z",
  endDate: "2027-05-09T00:00:00Z",
  destinationAddress: "Porto, PT",
  destinationLatitude: 41.15,
  destinationLongitude: -8.61,
});
await client.createTodo(trip.id, { text: "Book the sleeper" });
await client.sendMessage(trip.id, { content: "The sleeper leaves at 21:40" });
for await (const event of client.events()) {
  console.log(event.type, event.id);
  const { text } = (event.payload ?? {}) as { text?: string };
  if (event.type === "TODO_CREATED" && text === "Home") break;
}
