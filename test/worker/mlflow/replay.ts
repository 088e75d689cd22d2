import { exports } from "cloudflare:workers";

/** One request of a real client and what a real server answered, as they were recorded. */
export interface Exchange {
  n: number;
  call: string | null;
  request: {
    method: string;
    path: string;
    query: [string, string][];
    headers: Record<string, string>;
    body: Body | null;
  };
  response: { status: number; body: Body | null };
}

interface Body {
  json?: unknown;
  text?: string;
  base64?: string;
  size: number;
  truncated?: boolean;
}

/** What was answered to a replayed request, and what the recorded answer is in the ids of this server. */
export interface Replayed {
  exchange: Exchange;
  status: number;
  json: any;
  wanted: any;
}

/** Returns the exchanges of a transcript. */
export const exchangesOf = (text: string): Exchange[] =>
  text
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line))
    .filter(({ kind, via }) => kind === "exchange" && !via);

/** Ids that servers make, as they are recognised in any text. */
const longId = /\b(?:[am]-)?[0-9a-f]{32}\b/g;

/** Sends the requests of a transcript in their order, with the ids of this server in the place of those that were recorded. */
export async function* replay(exchanges: Exchange[]): AsyncGenerator<Replayed> {
  const ids = new Map<string, string>();
  const experiments = new Map([["0", "0"]]);
  const tokens = new Map<string, string>();
  for (const exchange of exchanges) {
    const { method, path, query, headers, body } = exchange.request;
    const url = new URL(`http://127.0.0.1${put(path)}`);
    for (const [name, value] of query) url.searchParams.append(name, String(named(name, value)));
    const kept = Object.entries(headers).filter(
      ([name]) => !/^(host|content-length|transfer-encoding|accept-encoding)$/.test(name),
    );
    const response = await exports.default.fetch(url, {
      method,
      headers: Object.fromEntries(
        kept.map(([name, value]) => [
          name,
          name === "x-mlflow-experiment-id" ? (experiments.get(value) ?? value) : value,
        ]),
      ),
      ...(body ? { body: bytesOf(body) } : {}),
    });
    const text = new TextDecoder().decode(await response.arrayBuffer());
    let json: unknown;
    try {
      json = JSON.parse(text);
    } catch {
      json = undefined;
    }
    learn("", exchange.response.body?.json, json);
    yield {
      exchange,
      status: response.status,
      json,
      wanted: named("", exchange.response.body?.json),
    };
  }

  function bytesOf(body: Body): Uint8Array | string {
    if ("json" in body) return JSON.stringify(named("", body.json));
    if (body.base64 !== undefined)
      return Uint8Array.from(atob(body.base64), (char) => char.charCodeAt(0));
    return (body.text ?? "").padEnd(body.truncated ? body.size : 0);
  }

  /** Returns recorded JSON, in the ids of this server. */
  function named(name: string, value: unknown): unknown {
    if (typeof value === "string" && name === "page_token") return tokens.get(value) ?? value;
    if (typeof value === "string")
      return /^experiment_ids?$/.test(name) ? (experiments.get(value) ?? value) : put(value);
    if (Array.isArray(value)) return value.map((item) => named(name, item));
    if (typeof value !== "object" || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([key, v]) => [key, named(key, v)]));
  }

  function put(text: string): string {
    return text
      .replace(longId, (id) => ids.get(id) ?? id)
      .replace(
        /(mlflow-artifacts:\/|\/mlflow-artifacts\/artifacts\/)(\d+)(?=\/|$)/g,
        (_, before: string, id: string) => before + (experiments.get(id) ?? id),
      );
  }

  /** Notes which id of this server stands where another was recorded. */
  function learn(name: string, old: unknown, found: unknown): void {
    if (typeof old === "string" && typeof found === "string") {
      if (name === "next_page_token") tokens.set(old, found);
      else if (name === "experiment_id") experiments.set(old, experiments.get(old) ?? found);
      else if (old.replace(longId, "") === "") ids.set(old, ids.get(old) ?? found);
    } else if (Array.isArray(old) && Array.isArray(found))
      old.forEach((item, i) => learn(name, item, found[i]));
    else if (old && found && typeof old === "object" && typeof found === "object")
      for (const [key, value] of Object.entries(old))
        learn(key, value, (found as Record<string, unknown>)[key]);
  }
}

/** Returns an answer without what is incidental: moments, the order of tags and params, and fields that clients ignore. */
export function essence(value: unknown, name = ""): unknown {
  if (Array.isArray(value)) {
    const items = value.map((item) => essence(item));
    return /^(tags|params)$/.test(name)
      ? items.sort((a: any, b: any) => (a.key < b.key ? -1 : 1))
      : items;
  }
  if (typeof value === "object" && value !== null)
    return Object.fromEntries(
      Object.entries(value)
        .filter(([key]) => !/^(sqlstate|error_class|workspace)$/.test(key))
        .map(([key, v]) => [key, essence(v, key)]),
    );
  if (/timestamp|_time$/.test(name)) return typeof value;
  if (name === "next_page_token") return typeof value;
  // What a token says is each server's own matter.
  if (name === "message" && /page token/.test(String(value))) return "of a page token";
  if (typeof value === "string" && /^\[.*\]$/.test(value)) return JSON.stringify(tryJSON(value));
  // Sets have no order.
  if (typeof value === "string")
    return value.replace(/\{('[^{}]*')\}/g, (_, list: string) => list.split(", ").sort().join());
  return value;
}

function tryJSON(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
