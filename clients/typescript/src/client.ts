// The client: sends calls, repeats them, and refreshes its tokens.

import { type Call, Refused, Unreachable, addressOf, pause, pauseMs, replyOf, requestOf } from "./calls.js";
import type { Envelope, SignedInView } from "./models.js";
import { Operations } from "./operations.js";
import { follow, lastEventId } from "./sockets.js";

/** The tokens of a session. An API key is an access token that cannot be refreshed. */
export interface Tokens {
  accessToken: string;
  refreshToken?: string;
}

export interface ClientOptions {
  tokens?: Tokens;
  /** The address of the sockets, if it is not `/v1/ws` below the server's. */
  socketsUrl?: string;
  timeoutMs?: number;
  /** Replaces the global `fetch`. */
  fetch?: typeof fetch;
  /** Called with new tokens, for a program to store them. */
  onTokens?: (tokens: Tokens) => void;
}

/**
 * A client of one server. A reply with tokens, as that of `login`, signs it in. An expired access token is refreshed
 * and the call repeated.
 */
export class Client extends Operations {
  readonly socketsUrl: string;
  #tokens: Tokens | undefined;
  #refreshing: Promise<unknown> | undefined;
  readonly #url: string;
  readonly #timeoutMs: number;
  readonly #fetch: typeof fetch;
  readonly #onTokens: (tokens: Tokens) => void;

  constructor(url: string, options: ClientOptions = {}) {
    super();
    this.#url = url.replace(/\/$/, "");
    this.socketsUrl = options.socketsUrl ?? `${this.#url.replace(/^http/, "ws")}/v1/ws`;
    this.#tokens = options.tokens;
    this.#timeoutMs = options.timeoutMs ?? 30_000;
    this.#fetch = options.fetch ?? ((input, init) => fetch(input, init));
    this.#onTokens = options.onTokens ?? (() => undefined);
  }

  get tokens(): Tokens | undefined {
    return this.#tokens;
  }

  /**
   * The events of the caller's trips: each once, over all losses of the connection. `after` is the id of the last
   * stored event that the program knows; without it, they begin with the oldest stored one.
   *
   * Throws `Refused` if the session ended, and with status 410 if `after` is too old: load the data again then.
   */
  events(options: { after?: string; signal?: AbortSignal } = {}): AsyncGenerator<Envelope, void, void> {
    return follow(this, options.after, options.signal);
  }

  /** The id of the newest stored event, to follow only later ones; undefined if there is none. */
  lastEventId(options: { signal?: AbortSignal } = {}): Promise<string | undefined> {
    return lastEventId(this, options.signal);
  }

  protected async send<T>(call: Call): Promise<T> {
    let isRefreshed = false;
    for (let attempt = 1; ; attempt++) {
      const tokens = this.#tokens;
      try {
        const [reply, headers] = await this.#attempt(call, tokens);
        if (isSignedIn(reply)) this.#learn({ accessToken: reply.access_token, refreshToken: reply.refresh_token });
        call.options.onHeaders?.(headers);
        return reply as T;
      } catch (failure) {
        if (!isRefreshed && tokens?.refreshToken && failure instanceof Refused && failure.isExpiredToken) {
          isRefreshed = true;
          await this.#refresh(tokens);
          continue;
        }
        const waitMs = pauseMs(call, attempt, failure);
        if (waitMs === undefined) throw failure;
        await pause(waitMs, call.options.signal);
      }
    }
  }

  async #attempt(call: Call, tokens: Tokens | undefined): Promise<[unknown, Headers]> {
    const limit = AbortSignal.timeout(this.#timeoutMs);
    const signal = call.options.signal === undefined ? limit : AbortSignal.any([limit, call.options.signal]);
    const request = { ...requestOf(call, tokens?.accessToken), signal };
    try {
      const response = await this.#fetch(addressOf(call, this.#url), request);
      return [await replyOf(call, response), response.headers];
    } catch (failure) {
      if (failure instanceof Refused) throw failure;
      call.options.signal?.throwIfAborted();
      throw new Unreachable(failure);
    }
  }

  /**
   * Refresh the tokens, once for all calls that wait for it. The server answers a repeat within seconds with the same
   * tokens, so that a lost reply does no harm.
   */
  async #refresh(expired: Tokens): Promise<void> {
    if (this.#tokens !== expired) return;
    this.#refreshing ??= this.send({
      method: "POST",
      path: "/v1/auth/refresh",
      replies: { 200: "json" },
      body: { refresh_token: expired.refreshToken },
      mayRepeat: true,
      options: {},
    }).finally(() => {
      this.#refreshing = undefined;
    });
    await this.#refreshing;
  }

  #learn(tokens: Tokens): void {
    this.#tokens = tokens;
    this.#onTokens(tokens);
  }
}

function isSignedIn(reply: unknown): reply is SignedInView {
  return typeof reply === "object" && reply !== null && "access_token" in reply && "refresh_token" in reply;
}
