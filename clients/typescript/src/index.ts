export { Refused, Unreachable, type CallOptions, type WriteOptions, nextPage } from "./calls.js";
export { Client, type ClientOptions, type Tokens } from "./client.js";
export type * as models from "./models.js";
