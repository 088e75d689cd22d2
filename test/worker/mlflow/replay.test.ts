import { Buffer } from "node:buffer";
import { exports } from "cloudflare:workers";
import { describe, expect, test } from "vitest";
import { freshStores } from "../worker.ts";
import { deviations, notHereYet } from "./deviations.ts";

const files = import.meta.glob<string>("../../files/mlflow/transcripts/*.jsonl", {
  query: "?raw",
  import: "default",
  eager: true,
});

interface Body {
  json?: unknown;
  text?: string;
  base64?: string;
  size?: number;
  truncated?: boolean;
  decoded_from?: string;
}

interface Exchange {
  n: number;
  call: string | null;
  method: string;
  path: string;
  query?: [string, string][];
  headers?: Record<string, string>;
  body?: Body;
  status: number;
  answer?: Body;
}

describe.each(Object.keys(files).map((path) => path.replace(/.*\/|\.jsonl/g, "")))("%s", (name) => {
  freshStores();

  test("is answered as MLflow answers", { timeout: 120_000 }, async () => {
    const [first, ...lines] =
      files[`../../files/mlflow/transcripts/${name}.jsonl`]!.trim().split("\n");
    const ids = new Ids((JSON.parse(first!) as { ids: string[] }).ids);
    const wrong: string[] = [];
    let same = 0;
    for (const line of lines) {
      const exchange = JSON.parse(line) as Exchange;
      const isCut =
        exchange.body?.truncated && exchange.headers?.["content-type"]?.includes("json");
      if (isCut || notHereYet.test(exchange.path)) continue;
      const found = await compare(exchange, ids);
      const label = `${name} ${exchange.n} ${exchange.call} ${exchange.method} ${exchange.path}`;
      const isKnown = deviations.some(({ where }) => where.test(label));
      if (found === undefined) same++;
      else if (!isKnown) wrong.push(`${label}: ${found}`);
    }
    expect(wrong).toEqual([]);
    expect(same).toBeGreaterThan(5);
  });
});

/** The ids that the recorded server made, and ours in their place. */
class Ids {
  readonly #ours = new Map<string, string>();
  readonly #made: Set<string>;
  /** page tokens, each list's in the place of the last one's */
  readonly #tokens = new Map<string, string>();
  constructor(made: string[]) {
    this.#made = new Set(made);
  }

  /** Learns our ids from an answer, where the recorded one has those of its server. */
  learn(recorded: unknown, ours: unknown, field = ""): void {
    if (typeof recorded === "string" && typeof ours === "string") {
      // Experiments have small numbers, as versions have.
      const isMade = recorded.length < 20 ? field === "experiment_id" : this.#made.has(recorded);
      if (isMade && !this.#ours.has(recorded)) this.#ours.set(recorded, ours);
    } else if (typeof recorded === "object" && recorded !== null)
      for (const [name, value] of Object.entries(recorded)) {
        const own = (ours as Record<string, unknown> | null)?.[name];
        if (name === "next_page_token") this.#tokens.set(String(value), String(own));
        else if (!isIncidental.test(name)) this.learn(value, own, name);
      }
  }

  /** Returns a value with our ids; those of experiments are small numbers, and are told by their field. */
  put(value: unknown, field = ""): unknown {
    if (Array.isArray(value)) return value.map((item) => this.put(item, field));
    if (typeof value === "object" && value !== null)
      return Object.fromEntries(
        Object.entries(value).map(([name, item]) => [name, this.put(item, name)]),
      );
    if (typeof value !== "string") return value;
    if (field === "page_token") return this.#tokens.get(value) ?? value;
    if (/^experiment_ids?$/.test(field)) return this.#ours.get(value) ?? value;
    return this.text(value);
  }

  text(text: string): string {
    let put = text;
    for (const [recorded, ours] of this.#ours)
      if (recorded.length >= 20) put = put.replaceAll(recorded, ours);
      else
        put = put
          .replace(new RegExp(`(^|')(mlflow-artifacts:/)${recorded}(/|$)`), `$1$2${ours}$3`)
          .replace(new RegExp(`(No such artifact: ')${recorded}/`), `$1${ours}/`)
          .replace(
            new RegExp(`^(/api/2.0/mlflow-artifacts/(?:artifacts|presigned)/)${recorded}/`),
            `$1${ours}/`,
          )
          .replace(new RegExp(`^${recorded}/(?=[0-9a-f]{32}/|models/|traces/)`), `${ours}/`)
          .replace(new RegExp(`(Experiment with id=|The experiment )${recorded} `), `$1${ours} `);
    return put;
  }
}

/** Fields whose values are chance: times, names the server thought of, tokens. */
const isIncidental = /time|timestamp|token|^run_name$|^workspace$|^retention$/;

/** Sends a request as it was recorded; returns what is different in the answer, undefined if nothing is. */
async function compare(exchange: Exchange, ids: Ids): Promise<string | undefined> {
  const { method, path, query = [], headers = {}, body, status, answer } = exchange;
  const search = new URLSearchParams(
    query.map(([key, value]) => [key, String(ids.put(value, key))]),
  ).toString();
  const url = `http://127.0.0.1${ids.text(path)}${search && `?${search}`}`;
  const sent = body && bytesOf(body, ids);
  const response = await exports.default.fetch(url, {
    method,
    headers: {
      ...Object.fromEntries(
        Object.entries(headers).map(([name, value]) => [
          name,
          name === "x-mlflow-experiment-id" ? String(ids.put(value, "experiment_id")) : value,
        ]),
      ),
      ...(sent ? { "content-length": String(sent.length) } : {}),
    },
    ...(sent ? { body: sent } : {}),
  });
  const text = new TextDecoder().decode(await response.arrayBuffer());
  const wanted = answer?.json ?? maybeJSON(answer?.text);
  const got = maybeJSON(text);
  ids.learn(wanted, got);
  const code = (it: unknown) => (Object(it) as { error_code?: string }).error_code;
  const expectedCode =
    code(wanted) ?? (status === 404 || status === 405 ? "ENDPOINT_NOT_FOUND" : undefined);
  if (
    response.status !== status ||
    (code(got) !== expectedCode && code(got) !== "PERMISSION_DENIED")
  )
    return `want ${status} ${expectedCode}, got ${response.status} ${text.slice(0, 300)}`;
  if (wanted === undefined || !isObject(wanted)) return undefined;
  const differs = difference(ids.put(wanted), got, "");
  return differs && `${differs} in ${text.slice(0, 200)}`;
}

function bytesOf({ json, text, base64, size, truncated }: Body, ids: Ids): Uint8Array<ArrayBuffer> {
  const whole =
    json === undefined
      ? text === undefined
        ? new Uint8Array(Buffer.from(base64 ?? "", "base64"))
        : new TextEncoder().encode(ids.text(text))
      : new TextEncoder().encode(JSON.stringify(ids.put(json)));
  if (!truncated) return whole;
  const padded = new Uint8Array(size!).fill(32);
  padded.set(whole.subarray(0, size));
  return padded;
}

function maybeJSON(text: string | undefined): unknown {
  try {
    return JSON.parse(text ?? "");
  } catch {
    return undefined;
  }
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** Returns where two answers differ, and how. */
function difference(wanted: unknown, got: unknown, at: string): string | undefined {
  const field = at.slice(at.lastIndexOf(".") + 1);
  if (Array.isArray(wanted) && Array.isArray(got)) {
    if (wanted.length !== got.length)
      return `${at}: want ${wanted.length} items, got ${got.length}`;
    const [a, b] = /^(params|tags|metrics|model_outputs)$/.test(field)
      ? [byKey(wanted), byKey(got)]
      : [wanted, got];
    return a.map((item, i) => difference(item, b[i], `${at}[${i}]`)).find(Boolean);
  }
  if (isObject(wanted) && isObject(got)) {
    const names = [...new Set([...Object.keys(wanted), ...Object.keys(got)])].filter(
      (name) => name !== "workspace",
    );
    const lacking = names.find((name) => !(name in wanted) || !(name in got));
    if (lacking) return `${at}.${lacking}: ${lacking in wanted ? "lacks" : "too much"}`;
    return names.map((name) => difference(wanted[name], got[name], `${at}.${name}`)).find(Boolean);
  }
  // MLflow's SQL store takes the largest number for an infinite one; here it stays what it was.
  if (typeof wanted === "number" && Math.abs(wanted) === Number.MAX_VALUE)
    return difference(wanted > 0 ? "Infinity" : "-Infinity", got, at);
  if (typeof wanted !== typeof got)
    return `${at}: want ${JSON.stringify(wanted)}, got ${JSON.stringify(got)}`;
  if (field === "message")
    return sentence(wanted) === sentence(got) ? undefined : `want message ${String(wanted)}`;
  const [a, b] = [jsonText(wanted), jsonText(got)];
  if (a !== undefined && b !== undefined) return difference(a, b, at);
  if (isIncidental.test(field) || isGeneratedName(wanted)) return undefined;
  return wanted === got
    ? undefined
    : `${at}: want ${JSON.stringify(wanted)}, got ${JSON.stringify(got)}`;
}

/** What a text that is a JSON list or object says. */
const jsonText = (value: unknown): unknown =>
  typeof value === "string" && /^[[{]/.test(value) ? maybeJSON(value) : undefined;

const byKey = (items: unknown[]): unknown[] => {
  const key = (item: unknown) =>
    JSON.stringify([
      (Object(item) as { key?: string }).key,
      (Object(item) as { step?: number }).step,
    ]);
  return items.toSorted((a, b) => (key(a) < key(b) ? -1 : 1));
};
const sentence = (message: unknown) =>
  String(message)
    .split(/\. |\n|\{/)[0]!
    .replace(/\.$/, "");
const isGeneratedName = (value: unknown) =>
  typeof value === "string" && /^[a-z]+-[a-z]+-\d+$/.test(value);
