// Events over the socket, without gap and without repeat.

import { Refused, Unreachable, backoffMs, pause } from "./calls.js";
import type { Envelope, EventPageView } from "./models.js";

const PAGE = 200;
const QUIET_MS = 30_000; // without a frame: before the ping, and again before the connection counts as lost
const LONGEST_PAUSE_MS = 30_000;
const MAX_KNOWN = 10_000;

/** The part of a client that the events need. */
interface Caller {
  readonly socketsUrl: string;
  readonly tokens: { accessToken: string } | undefined;
  listEvents(options: { after?: string; limit?: number; signal?: AbortSignal }): Promise<EventPageView>;
}

interface Frame {
  type: string;
  payload: unknown;
}

/** The last stored event, after which to catch up, the ids of the latest events, and failures in a row. */
class Inbox {
  failures = 0;
  after: string | undefined;
  readonly #known = new Set<string>();

  constructor(after: string | undefined) {
    this.after = after;
  }

  /** True for an event that was not taken before. */
  take(event: Envelope): boolean {
    if (event.kept !== false) this.after = event.id;
    if (this.#known.has(event.id)) return false;
    this.#known.add(event.id);
    const [oldest] = this.#known;
    if (this.#known.size > MAX_KNOWN && oldest !== undefined) this.#known.delete(oldest);
    return true;
  }
}

/** See `Client.lastEventId`. */
export async function lastEventId(caller: Caller, signal: AbortSignal | undefined): Promise<string | undefined> {
  let last: string | undefined;
  for await (const event of stored(caller, undefined, signal)) last = event.id;
  return last;
}

/** See `Client.events`. */
export async function* follow(
  caller: Caller,
  after: string | undefined,
  signal: AbortSignal | undefined,
): AsyncGenerator<Envelope, void, void> {
  const inbox = new Inbox(after);
  let isTokenDoubtful = false;
  while (true) {
    const socket = new Connection(caller, signal);
    try {
      // A browser does not tell why it could not connect; the call refreshes an expired token.
      if (isTokenDoubtful) await caller.listEvents({ limit: 1, ...(signal && { signal }) });
      isTokenDoubtful = true;
      socket.open();
      for await (const event of received(caller, socket, inbox, signal)) {
        isTokenDoubtful = false;
        yield event;
      }
    } catch (failure) {
      signal?.throwIfAborted();
      const isFinal = failure instanceof Refused ? !failure.isPassing : !(failure instanceof Unreachable);
      if (isFinal) throw failure;
    } finally {
      socket.close();
    }
    inbox.failures += 1;
    await pause(backoffMs(inbox.failures, LONGEST_PAUSE_MS), signal);
  }
}

/** The events of one connection, after those that were missed before it. */
async function* received(
  caller: Caller,
  socket: Connection,
  inbox: Inbox,
  signal: AbortSignal | undefined,
): AsyncGenerator<Envelope, void, void> {
  let isGreeted = false;
  for await (const frame of socket.frames()) {
    if (frame.type === "connected") {
      isGreeted = true;
      inbox.failures = 0;
      for await (const event of stored(caller, inbox.after, signal)) if (inbox.take(event)) yield event;
    } else if (frame.type === "event") {
      const event = frame.payload as Envelope;
      // A stored event before the greeting follows from the catching up, in its order.
      if ((isGreeted || event.kept === false) && inbox.take(event)) yield event;
    }
  }
}

/** The stored events after one of them, page by page. */
async function* stored(
  caller: Caller,
  after: string | undefined,
  signal: AbortSignal | undefined,
): AsyncGenerator<Envelope, void, void> {
  for (let next = after, hasMore = true; hasMore; ) {
    const page = await caller.listEvents({
      limit: PAGE,
      ...(next !== undefined && { after: next }),
      ...(signal && { signal }),
    });
    yield* page.events;
    next = page.next ?? next;
    hasMore = page.has_more;
  }
}

/** One connection: frames wait here until the program takes them. */
class Connection {
  readonly #caller: Caller;
  readonly #signal: AbortSignal | undefined;
  readonly #abort = (): void => this.#lose();
  #socket: WebSocket | undefined;
  #waiting: Frame[] = [];
  #isLost = false;
  #isPinged = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #wake: () => void = () => undefined;

  constructor(caller: Caller, signal: AbortSignal | undefined) {
    this.#caller = caller;
    this.#signal = signal;
  }

  open(): void {
    const token = this.#caller.tokens?.accessToken;
    const socket = new WebSocket(this.#caller.socketsUrl, ["nomadcrew.v1", ...(token === undefined ? [] : [token])]);
    this.#socket = socket;
    socket.onmessage = (message: MessageEvent<unknown>) => {
      this.#isPinged = false;
      this.#expectFrame();
      this.#waiting.push(JSON.parse(String(message.data)) as Frame);
      this.#wake();
    };
    socket.onclose = () => this.#lose();
    socket.onerror = () => this.#lose();
    this.#signal?.addEventListener("abort", this.#abort);
    this.#expectFrame();
  }

  /** The frames until the connection is lost. */
  async *frames(): AsyncGenerator<Frame, void, void> {
    while (true) {
      yield* this.#waiting.splice(0);
      if (this.#waiting.length > 0) continue;
      if (this.#isLost) return;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#signal?.removeEventListener("abort", this.#abort);
    this.#socket?.close();
  }

  #expectFrame(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      if (this.#isPinged || this.#socket?.readyState !== WebSocket.OPEN) {
        this.#lose();
      } else {
        this.#isPinged = true;
        this.#socket.send('{"type": "ping"}');
        this.#expectFrame();
      }
    }, QUIET_MS);
  }

  #lose(): void {
    this.#isLost = true;
    this.close();
    this.#wake();
  }
}
