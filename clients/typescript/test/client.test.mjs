// The client on a server that loses replies, limits calls, and lets tokens expire.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Client, Refused, Unreachable, nextPage } from "nomadcrew-client";

const URL = "http://server.test";
const TODO = { id: "t1", tripId: "p1", text: "Pack", status: "INCOMPLETE" };
const LOGIN = { username: "ana", password: "x" };

const reply = (status, body, headers = {}) => new Response(JSON.stringify(body), { status, headers });
const refusal = (status, code, headers) => reply(status, { status, code, detail: "" }, headers);

/** A server that gives these answers in order, and remembers the requests. */
function script(...answers) {
  const requests = [];
  const fake = async (url, request) => {
    requests.push({ url, ...request });
    const answer = answers.shift();
    if (answer instanceof Error) throw answer;
    return answer;
  };
  return { requests, client: new Client(URL, { fetch: fake }) };
}

/** A server of which only the token `fresh` is valid. */
function site(tokens) {
  const seen = { refreshes: 0, stored: [] };
  const fake = async (url, request) => {
    if (url.endsWith("/v1/auth/refresh")) {
      seen.refreshes += 1;
      assert.deepEqual(JSON.parse(request.body), { refresh_token: "r1" });
      return reply(200, { access_token: "fresh", refresh_token: "r2" });
    }
    return request.headers.authorization === "Bearer fresh"
      ? reply(200, { username: "ana", events: [{ id: "e1", type: "T" }], next: "e1", has_more: false })
      : refusal(401, "token_expired");
  };
  const onTokens = (fresh) => seen.stored.push(fresh);
  return { seen, client: new Client(URL, { fetch: fake, tokens, onTokens }) };
}

test("a write whose reply is lost is repeated with its key", async () => {
  const { client, requests } = script(new TypeError("lost"), reply(201, TODO));
  assert.equal((await client.createTodo("p1", { text: "Pack" })).text, "Pack");
  const [first, second] = requests.map((request) => request.headers["idempotency-key"]);
  assert.match(first, /^[0-9a-f]{32}$/);
  assert.equal(first, second);
});

test("a write without a key is not repeated", async () => {
  const { client, requests } = script(new TypeError("lost"));
  await assert.rejects(client.login(LOGIN), Unreachable);
  assert.equal(requests.length, 1);
});

test("a limited write without a key waits as long as it is told", async () => {
  const { client } = script(refusal(429, "rate_limited", { "retry-after": "1" }), refusal(401, "invalid_credentials"));
  const startMs = performance.now();
  await assert.rejects(client.login(LOGIN), (failure) => failure.code === "invalid_credentials");
  assert.ok(performance.now() - startMs >= 990);
});

test("a pause of more than a minute is left to the program", async () => {
  const { client, requests } = script(refusal(429, "rate_limited", { "retry-after": "61" }));
  await assert.rejects(client.getMe(), Refused);
  assert.equal(requests.length, 1);
});

test("a page of a proxy is an outage, and no problem of the server", async () => {
  const { client } = script(new Response("<html>", { status: 502 }), new Response("<html>", { status: 400 }));
  await assert.rejects(client.getMe(), (failure) => failure.status === 400 && failure.problem === undefined);
});

test("calls at the same time refresh an expired token once", async () => {
  const { client, seen } = site({ accessToken: "stale", refreshToken: "r1" });
  const profiles = await Promise.all([client.getMe(), client.getMe(), client.getMe()]);
  assert.deepEqual(profiles.map((profile) => profile.username), ["ana", "ana", "ana"]);
  assert.equal(seen.refreshes, 1);
  assert.deepEqual(seen.stored, [{ accessToken: "fresh", refreshToken: "r2" }]);
});

test("an expired token that cannot be refreshed is refused", async () => {
  const { client } = site({ accessToken: "stale" });
  await assert.rejects(client.getMe(), (failure) => failure instanceof Refused && failure.isExpiredToken);
});

test("the headers of a reply tell the next page, and the last has none", async () => {
  const link = '</v1/trips/p1/todos?limit=1&after=a%3Db>; rel="next"';
  const page = { todos: [TODO] };
  const { client } = script(reply(200, page, { link }), reply(200, page));
  const pages = [];
  const onHeaders = (headers) => pages.push(nextPage(headers));
  await client.listTodos("p1", { limit: 1, onHeaders });
  await client.listTodos("p1", { limit: 1, after: pages[0], onHeaders });
  assert.deepEqual(pages, ["a=b", undefined]);
});

test("a failure of the program's own function is not repeated", async () => {
  const { client, requests } = script(reply(200, {}));
  const own = new TypeError("of the program");
  const onHeaders = () => {
    throw own;
  };
  await assert.rejects(client.getMe({ onHeaders }), own);
  assert.equal(requests.length, 1);
});

test("an aborted call throws the reason of its signal", async () => {
  const { client } = script(refusal(503, "unavailable", { "retry-after": "30" }));
  const reason = new Error("the program ends");
  const controller = new AbortController();
  const call = client.getMe({ signal: controller.signal });
  setTimeout(() => controller.abort(reason), 20);
  await assert.rejects(call, reason);
});

test("ids in paths are escaped and absent parameters left out", async () => {
  const { client, requests } = script(refusal(404, "not_found"), refusal(404, "not_found"));
  await assert.rejects(client.getTrip("../users"), Refused);
  await assert.rejects(client.listTodos("p1", { limit: 5 }), Refused);
  assert.deepEqual(requests.map((request) => request.url), [
    `${URL}/v1/trips/..%2Fusers`,
    `${URL}/v1/trips/p1/todos?limit=5`,
  ]);
});

/** Sockets of which the first closes at once, as for an expired token, and the next greets. */
class FakeSocket {
  static OPEN = 1;
  static offered = [];
  readyState = 1;

  constructor(_url, [, token]) {
    FakeSocket.offered.push(token);
    const isFirst = FakeSocket.offered.length === 1;
    setTimeout(() => (isFirst ? this.onclose({ code: 4401 }) : this.#send("connected", {})));
  }

  #send(type, payload) {
    this.onmessage({ data: JSON.stringify({ type, payload }) });
  }

  close() {}
}

test("a refused socket refreshes the token, reconnects and catches up", async (context) => {
  const { WebSocket } = globalThis;
  context.after(() => Object.assign(globalThis, { WebSocket }));
  Object.assign(globalThis, { WebSocket: FakeSocket });
  const { client, seen } = site({ accessToken: "stale", refreshToken: "r1" });
  const events = client.events();
  assert.equal((await events.next()).value.id, "e1");
  await events.return();
  assert.deepEqual(FakeSocket.offered, ["stale", "fresh"]);
  assert.equal(seen.refreshes, 1);
});
