// One call of the API: its request, its reply or refusal, and the pause before its next attempt.

import type { Problem } from "./models.js";

export interface CallOptions {
  signal?: AbortSignal;
  /** Called with the headers of the reply, such as `ETag`. */
  onHeaders?: (headers: Headers) => void;
}

export interface WriteOptions extends CallOptions {
  /** By default a new key: repeats after a lost reply change nothing. */
  idempotencyKey?: string;
}

/** A request; `replies` has the kind of each successful status. A call with a key is done once. */
export interface Call {
  method: string;
  path: string;
  replies: Record<number, "json" | "blob" | "none">;
  query?: Record<string, string | number | boolean | undefined>;
  body?: unknown;
  content?: Blob | Uint8Array<ArrayBuffer>;
  contentType?: string;
  parts?: Record<string, File | string>;
  ifMatch?: string | undefined;
  key?: string;
  mayRepeat?: boolean;
  options: CallOptions;
}

/** The server refuses a call. `code` is for programs; `problem` is missing if a proxy answered instead. */
export class Refused extends Error {
  readonly status: number;
  readonly problem: Problem | undefined;
  readonly retryAfterMs: number;

  constructor(status: number, problem: Problem | undefined, retryAfterMs = 0) {
    super(problem === undefined ? String(status) : `${status} ${problem.code}: ${problem.detail}`);
    this.name = "Refused";
    this.status = status;
    this.problem = problem;
    this.retryAfterMs = retryAfterMs;
  }

  static async of(response: Response): Promise<Refused> {
    const text = response.headers.get("retry-after") ?? "";
    const retryAfterMs = /^\d+$/.test(text) ? Number(text) * 1000 : 0;
    const body: unknown = await response.json().catch(() => undefined);
    return new Refused(response.status, isProblem(body) ? body : undefined, retryAfterMs);
  }

  get code(): string {
    return this.problem?.code ?? "";
  }

  /** True if the same call may succeed later. */
  get isPassing(): boolean {
    return this.status === 429 || isOutage(this.status);
  }

  get isExpiredToken(): boolean {
    return this.status === 401 && this.code === "token_expired";
  }
}

/** No reply: the connection failed, or the call took too long. */
export class Unreachable extends Error {
  constructor(cause: unknown) {
    super("The server gave no reply.", { cause });
    this.name = "Unreachable";
  }
}

export function requestOf(call: Call, token: string | undefined): RequestInit {
  const headers: Record<string, string> = { accept: "application/json, */*;q=0.5" };
  if (token !== undefined) headers["authorization"] = `Bearer ${token}`;
  if (call.key !== undefined) headers["idempotency-key"] = call.key;
  if (call.ifMatch !== undefined) headers["if-match"] = call.ifMatch;
  const body = bodyOf(call);
  if (body !== undefined && call.parts === undefined) {
    headers["content-type"] = call.contentType ?? "application/json";
  }
  return { method: call.method, headers, ...(body === undefined ? {} : { body }) };
}

export function addressOf(call: Call, base: string): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(call.query ?? {})) {
    if (value !== undefined) query.set(name, String(value));
  }
  const text = query.toString();
  return base + call.path + (text === "" ? "" : `?${text}`);
}

/** The `after` of the page that follows a reply, undefined after the last page. */
export function nextPage(headers: Headers): string | undefined {
  const link = /\?([^>]*)>; rel="next"/.exec(headers.get("link") ?? "");
  return new URLSearchParams(link?.[1]).get("after") ?? undefined;
}

export async function replyOf(call: Call, response: Response): Promise<unknown> {
  switch (call.replies[response.status]) {
    case "json":
      return response.json();
    case "blob":
      return response.blob();
    case "none":
      return undefined;
    default:
      throw await Refused.of(response);
  }
}

const ATTEMPTS = 5;
const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 8_000;
const LONGEST_RETRY_AFTER_MS = 60_000;

/**
 * Milliseconds to wait before the next attempt, undefined if there must be none.
 *
 * A rate limit refuses before anything is done, so any call may follow it. After an outage or a lost reply only a
 * repeatable call may. `attempt` is the number of the failed attempt, from 1.
 */
export function pauseMs(call: Call, attempt: number, failure: unknown): number | undefined {
  const isRepeatable = call.mayRepeat === true || call.method === "GET" || call.key !== undefined;
  const isLimited = failure instanceof Refused && failure.status === 429;
  const isLost = failure instanceof Unreachable || (failure instanceof Refused && isOutage(failure.status));
  if (attempt >= ATTEMPTS || !(isLimited || (isLost && isRepeatable))) return undefined;
  const askedMs = failure instanceof Refused ? failure.retryAfterMs : 0;
  return askedMs > LONGEST_RETRY_AFTER_MS ? undefined : Math.max(askedMs, backoffMs(attempt));
}

/** A pause that doubles with each attempt from 1, up to a limit, and differs between clients. */
export function backoffMs(attempt: number, longestMs = LONGEST_PAUSE_MS): number {
  return Math.min(FIRST_PAUSE_MS * 2 ** (attempt - 1), longestMs) * (0.75 + Math.random() / 2);
}

/** Wait; rejects with the signal's reason if it aborts. */
export function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const onAbort = (): void => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", onAbort);
      resolve();
    }, ms);
    signal?.addEventListener("abort", onAbort, { once: true });
  });
}

/** A key for one write and its repeats. */
export function newKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function bodyOf(call: Call): BodyInit | undefined {
  if (call.parts !== undefined) {
    const form = new FormData();
    for (const [name, part] of Object.entries(call.parts)) form.append(name, part);
    return form;
  }
  if (call.content !== undefined) return call.content;
  return call.body === undefined ? undefined : JSON.stringify(call.body);
}

function isOutage(status: number): boolean {
  return status === 500 || (status >= 502 && status <= 504);
}

function isProblem(body: unknown): body is Problem {
  return typeof body === "object" && body !== null && "code" in body && "detail" in body;
}
