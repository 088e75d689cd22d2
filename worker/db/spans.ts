import { Buffer } from "node:buffer";
import { ApiError } from "../../wire/error.ts";
import type { Trace, TraceState } from "../../wire/trace.ts";
import { workspace, type Stores } from "../env.ts";
import { newObject } from "./objects.ts";
import { digestOf } from "./events.ts";

/** A span as it is kept: what is asked about, and the JSON that is sent. */
export interface KeptSpan {
  id: string;
  parent: string | null;
  name: string;
  /** what kind of step it was, in the program's words; null where none was told */
  type: string | null;
  status: "OK" | "ERROR" | "UNSET";
  /** ns since 1970, in digits */
  start: string;
  end: string;
  json: string;
}

type Outline = [
  id: string,
  parent: string | null,
  name: string,
  type: string | null,
  status: KeptSpan["status"],
  start: string,
  end: string,
];

/** Spans of one request beyond this size are an object of their own, as D1 ends at 2 MB a row. */
const maxBody = 500_000;

/** What the spans of a trace say of it. */
export interface Inferred extends Pick<
  Trace,
  | "id"
  | "experiment"
  | "name"
  | "started"
  | "duration"
  | "request"
  | "response"
  | "tags"
  | "metadata"
> {
  /** null where the span of the whole is not among them */
  state: TraceState | null;
}

/** The statement that keeps what spans say of their trace, where it was not told of itself. */
function inferTrace(db: D1Database, inferred: Inferred): D1PreparedStatement {
  const { id, experiment, name, state, started, duration, request, response, tags, metadata } =
    inferred;
  return db
    .prepare(
      `INSERT INTO traces (workspace, id, experiment, name, state, started, duration, request, response, client, told, tags, metadata, runs, prompts)
       VALUES (?1, ?2, ?3, ?11, coalesce(?4, 'running'), ?5, ?6, ?7, ?8, NULL, 0, jsonb(?9), jsonb(?10), jsonb('{}'), jsonb('{}'))
       ON CONFLICT (id) DO UPDATE SET name = coalesce(?11, name),
         state = CASE WHEN state IN ('running', 'unspecified') THEN coalesce(?4, state) ELSE state END,
         duration = CASE WHEN told THEN duration ELSE max(coalesce(started + duration, 0), coalesce(?5 + ?6, 0)) - min(started, ?5) END,
         started = CASE WHEN told THEN started ELSE min(started, ?5) END,
         request = coalesce(request, ?7), response = coalesce(response, ?8),
         tags = jsonb_patch(tags, ?9), metadata = jsonb_patch(?10, metadata) WHERE workspace = ?1`,
    )
    .bind(
      workspace,
      id,
      experiment,
      state,
      started,
      duration,
      request,
      response,
      JSON.stringify(tags),
      JSON.stringify(metadata),
      name,
    );
}

/** Keeps spans of a trace, once however often they are sent, and what they say of it. */
export async function insertSpans(
  { DB, FILES }: Stores,
  trace: Inferred,
  spans: KeptSpan[],
): Promise<void> {
  const outline = JSON.stringify(
    spans.map(({ id, parent, name, type, status, start, end }): Outline => {
      return [id, parent, name, type, status, start, end];
    }),
  );
  if (Buffer.byteLength(outline) > 2 * maxBody)
    throw new ApiError("REQUEST_TOO_LARGE", `too many spans at once: ${spans.length}`);
  const body = JSON.stringify(spans.map(({ json }) => json));
  const digest = await digestOf(body);
  const object = Buffer.byteLength(body) > maxBody ? newObject("spans") : null;
  if (object) await FILES.put(object, body);
  const [, insert] = await DB.batch([
    inferTrace(DB, trace),
    DB.prepare(
      `INSERT INTO spans (workspace, trace, digest, outline, body, object) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
    ).bind(workspace, trace.id, digest, outline, object ? null : body, object),
  ]);
  if (object && !insert!.meta.changes) await FILES.delete(object); // they were there already
}

interface Row {
  trace: string;
  outline: string;
  body: string | null;
  object: string | null;
}

/** At most so many characters of spans are read for one answer. */
const maxRead = 64_000_000;

/**
 * Returns the spans of traces, by trace: the whole's first, then by their start; one sent again stands as it was sent last.
 * With `most`, no more requests of a trace's spans are read when they have so many characters.
 */
export async function selectSpans(
  { DB, FILES }: Stores,
  traces: string[],
  most = Infinity,
): Promise<Map<string, KeptSpan[]>> {
  const found = new Map<string, Map<string, KeptSpan>>();
  let read = 0;
  // A trace at a time, so that no answer of the database is too large.
  for (const trace of traces) {
    const { results } = await DB.prepare(
      "SELECT trace, outline, body, object FROM spans WHERE workspace = ? AND trace = ? ORDER BY no",
    )
      .bind(workspace, trace)
      .all<Row>();
    const spans = new Map<string, KeptSpan>();
    const before = read;
    for (const row of results) {
      if (read - before > most) break;
      const body = row.body ?? (await readBody(FILES, row.object!));
      read += body.length;
      if (read > maxRead)
        throw new ApiError(
          "INVALID_PARAMETER_VALUE",
          `too many spans for one answer: ask for fewer traces than ${traces.length}`,
        );
      const jsons = JSON.parse(body) as string[];
      for (const [i, outlined] of (JSON.parse(row.outline) as Outline[]).entries()) {
        const [id, parent, name, type, status, start, end] = outlined;
        spans.set(id, { id, parent, name, type, status, start, end, json: jsons[i]! });
      }
    }
    found.set(trace, spans);
  }
  return new Map(
    Array.from(found, ([trace, spans]) => [trace, Array.from(spans.values()).sort(byStart)]),
  );
}

async function readBody(bucket: R2Bucket, object: string): Promise<string> {
  const content = await bucket.get(object);
  if (!content) throw new Error(`spans are gone: ${object}`);
  return content.text();
}

function byStart(a: KeptSpan, b: KeptSpan): number {
  if ((a.parent === null) !== (b.parent === null)) return a.parent === null ? -1 : 1;
  const [x, y] = [BigInt(a.start), BigInt(b.start)];
  if (x < y) return -1;
  return x > y ? 1 : 0;
}
