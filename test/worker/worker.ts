import { reset } from "cloudflare:test";
import { env, exports } from "cloudflare:workers";
import { beforeAll, expect } from "vitest";
import { statementsOf } from "../../client/cli/server/statements.ts";

const migrations = import.meta.glob<string>("../../worker/migrations/*.sql", {
  query: "?raw",
  import: "default",
  eager: true,
});

/** Gives a file of tests an empty database and an empty bucket. */
export function freshStores(): void {
  beforeAll(async () => {
    // What an earlier file's requests left to do after their answers may still be at the tables.
    do await reset();
    while (await env.DB.prepare("SELECT 1 FROM sqlite_master WHERE name = 'runs'").first());
    for (const name of Object.keys(migrations).sort())
      await env.DB.batch(statementsOf(migrations[name]!).map((sql) => env.DB.prepare(sql)));
  });
}

/** Asks the Worker over HTTP, as a client on loopback would; the body of an answer is JSON where it can be. */
export async function ask(
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
) {
  const isRaw =
    body instanceof Uint8Array || body instanceof ReadableStream || typeof body === "string";
  const response = await exports.default.fetch(`http://127.0.0.1/api/v1${path}`, {
    method,
    headers,
    ...(body === undefined ? {} : { body: isRaw ? (body as BodyInit) : JSON.stringify(body) }),
  });
  const text = new TextDecoder().decode(await response.clone().arrayBuffer());
  let json: any;
  try {
    json = JSON.parse(text);
  } catch {
    json = undefined;
  }
  return { status: response.status, headers: response.headers, text, json, response };
}

/** Starts a run and returns its id. */
export async function startRun(body: Record<string, unknown> = {}): Promise<string> {
  const { json } = await ask("POST", "/runs", { experiment: "test", ...body });
  return json.id as string;
}

/** What a refused request answers, as far as a test looks at it. */
export const refused = (
  message: string | RegExp,
  status = 400,
  error_code = "INVALID_PARAMETER_VALUE",
) => ({
  status,
  json: {
    error_code,
    message: typeof message === "string" ? message : expect.stringMatching(message),
  },
});
