import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { gunzipSync } from "node:zlib";
import { arrowType, pointsFromIPC } from "../../wire/point-ipc.ts";

/** What a small server does with one request: fails it before or after it is done, leaves it open, or answers a status. */
export type Fault =
  | "before"
  | "after"
  | "hang"
  | { status: number; retryAfter?: string; body?: string; type?: string };

/** What a run has become on a small server. */
export interface KeptRun {
  start: Record<string, any>;
  patches: Record<string, any>[];
  points: { key: string; step: number; time: number; value: number }[];
  lines: { text: string; stream: string; time: number }[];
  files: Record<string, { content: Buffer; type: string | undefined; sha256: string | undefined }>;
  finish?: { state: string; error?: string };
}

/** A request as it came. */
export interface Seen {
  what: string;
  path: string;
  at: number;
  headers: Record<string, any>;
}

/**
 * A server in memory that says what the Worker says to what a run sends: points and lines are kept by (writer, seq),
 * the same again changes nothing, other content under the same number is a 409. `faults` are used up one a request, or
 * by `faultOf`, which sees each request.
 */
export class SmallServer {
  readonly runs = new Map<string, KeptRun>();
  readonly seen: Seen[] = [];
  faults: (Fault | undefined)[] = [];
  faultOf: (request: Seen) => Fault | undefined = () => undefined;
  /** called when a request fails by a fault */
  failed: () => void = () => undefined;
  readonly #taken = new Map<string, string>();
  readonly #server = createServer((request, response) => void this.#serve(request, response));
  #port = 0;

  /** Listens on any free port, or again on the one it had. */
  async open(): Promise<this> {
    if (this.#server.listening) return this;
    this.#server.listen(this.#port, "127.0.0.1");
    await once(this.#server, "listening");
    this.#port = (this.#server.address() as AddressInfo).port;
    return this;
  }

  /** Closes the port at once, and what is under way with it. */
  async close(): Promise<void> {
    if (!this.#server.listening) return;
    this.#server.close();
    this.#server.closeAllConnections();
    await once(this.#server, "close");
  }

  /** Forgets all it was sent and told. */
  reset(): void {
    this.runs.clear();
    this.seen.length = 0;
    this.#taken.clear();
    this.faults = [];
    this.faultOf = () => undefined;
    this.failed = () => undefined;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** The only run. */
  get run(): KeptRun {
    if (this.runs.size !== 1) throw new Error(`the server has ${this.runs.size} runs`);
    return [...this.runs.values()][0]!;
  }

  /** How often a thing was asked for: "points", "finish", … */
  count = (what: string): number => this.seen.filter((request) => request.what === what).length;

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname, searchParams } = new URL(request.url!, this.url);
    const [, run = "", what = "start", path = ""] =
      /^\/api\/v1\/runs(?:\/(\w+))?(?:\/(\w+))?(?:\/(.*))?$/.exec(pathname) ?? [];
    const name = request.method === "PATCH" ? "patch" : what;
    const seen = { what: name, path: pathname, at: Date.now(), headers: request.headers };
    this.seen.push(seen);
    const fault = this.faults.shift() ?? this.faultOf(seen);
    if (fault === "hang") return;
    if (fault !== undefined && fault !== "after") this.failed();
    if (fault === "before") return void request.socket.destroy();
    try {
      const body = await bodyOf(request);
      if (typeof fault === "object") return answer(response, fault.status, fault);
      const number = `${run} ${name} ${searchParams.get("writer")} ${searchParams.get("seq")}`;
      const { status, message } = this.#do(name, run, path, body, request, number);
      if (fault === "after") {
        this.failed();
        return void request.socket.destroy();
      }
      answer(response, status, { body: JSON.stringify(message) });
    } catch {
      request.socket.destroy(); // the client went away
    }
  }

  #do(
    what: string,
    id: string,
    path: string,
    body: Buffer,
    { headers }: IncomingMessage,
    number: string,
  ): { status: number; message: Record<string, unknown> } {
    const json = () => JSON.parse(body.toString());
    if (what === "start") {
      const start = json();
      if (!this.runs.has(start.id))
        this.runs.set(start.id, { start, patches: [], points: [], lines: [], files: {} });
      return { status: 201, message: { id: start.id } };
    }
    const run = this.runs.get(id);
    if (!run) return refusal(404, "RESOURCE_DOES_NOT_EXIST", `run not found: ${id}`);
    if (what === "points" || what === "console") {
      const digest = createHash("sha256").update(body).digest("hex");
      const known = this.#taken.get(number);
      if (known === undefined && run.finish && what === "points")
        return refusal(409, "INVALID_STATE", `run is ${run.finish.state}: ${id}`);
      if (known !== undefined && known !== digest)
        return refusal(409, "RESOURCE_ALREADY_EXISTS", `seq was used for others: ${number}`);
      this.#taken.set(number, digest);
      if (known === undefined && what === "console") run.lines.push(...json());
      if (known === undefined && what === "points") run.points.push(...rowsOf(body, headers));
    } else if (what === "patch") run.patches.push(json());
    else if (what === "finish") {
      const finish = json();
      if (run.finish && run.finish.state !== finish.state)
        return refusal(409, "INVALID_STATE", `run is ${run.finish.state}: ${id}`);
      run.finish = finish;
    } else if (what === "files") {
      if (headers["content-length"] === undefined)
        return refusal(411, "LENGTH_REQUIRED", "missing content-length");
      const sha256 = headers["x-content-sha256"] as string | undefined;
      if (sha256 !== undefined && sha256 !== createHash("sha256").update(body).digest("hex"))
        return refusal(400, "INVALID_PARAMETER_VALUE", "wrong sha256");
      run.files[decodeURIComponent(path)] = {
        content: body,
        type: headers["content-type"],
        sha256,
      };
    } else if (what !== "heartbeat")
      return refusal(404, "RESOURCE_DOES_NOT_EXIST", `not found: ${what}`);
    return { status: 200, message: {} };
  }
}

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const bytes = Buffer.concat(chunks);
  return request.headers["content-encoding"] === "gzip" ? gunzipSync(bytes) : bytes;
}

function rowsOf(body: Buffer, headers: IncomingMessage["headers"]): KeptRun["points"] {
  if (headers["content-type"] !== arrowType) throw new Error("points are not Arrow");
  const { keys, key, step, time, value } = pointsFromIPC(new Uint8Array(body));
  return Array.from(key, (k, i) => ({
    key: keys[k]!,
    step: step[i]!,
    time: time[i]!,
    value: value[i]!,
  }));
}

const refusal = (status: number, error_code: string, message: string) => ({
  status,
  message: { error_code, message },
});

function answer(
  response: ServerResponse,
  status: number,
  { retryAfter, body, type }: { retryAfter?: string; body?: string; type?: string },
): void {
  response.writeHead(status, {
    "content-type": type ?? "application/json",
    ...(retryAfter === undefined ? {} : { "retry-after": retryAfter }),
  });
  response.end(
    body ?? JSON.stringify({ error_code: "TEMPORARILY_UNAVAILABLE", message: `status ${status}` }),
  );
}
