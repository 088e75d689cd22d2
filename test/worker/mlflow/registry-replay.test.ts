import { describe, expect, test } from "vitest";
import { freshStores } from "../worker.ts";
import { essence, exchangesOf, replay, type Exchange } from "./replay.ts";

const transcripts = import.meta.glob<string>("../../files/mlflow/{transcripts,registry}/*.jsonl", {
  query: "?raw",
  import: "default",
  eager: true,
});

const sentTags = ({ body }: Exchange["request"]): Record<string, string> =>
  (body?.json as any)?.trace?.trace_info?.tags ?? {};

/** The routes whose answers must be the same throughout. */
const ours = /\/(registered-models|model-versions|logged-models|traces|runs\/outputs)(\/|$)/;

describe.for([
  "transcripts/py3-models",
  "transcripts/py3-prompts",
  "transcripts/py3-traces",
  "transcripts/py3-sklearn",
  "transcripts/py2-sklearn",
  "registry/py3-errors",
  "registry/py2-errors",
])("%s", (name) => {
  freshStores();

  test("what a real client asked of MLflow is answered alike", async () => {
    let compared = 0;
    const exchanges = exchangesOf(transcripts[`../../files/mlflow/${name}.jsonl`]!);
    for await (const { exchange, status, json, wanted } of replay(exchanges)) {
      const { n, call, request, response } = exchange;
      const asked = `${name} ${n} ${call ?? ""} ${request.method} ${request.path}`;
      if (!ours.test(request.path)) {
        expect([asked, status, json?.error_code]).toEqual([
          asked,
          response.status,
          wanted?.error_code,
        ]);
        continue;
      }
      // MLflow leaves out tags that it has just stored where the spans came first.
      if (/\/traces$/.test(request.path) && json?.trace && wanted.trace)
        wanted.trace.trace_info.tags = { ...sentTags(request), ...wanted.trace.trace_info.tags };
      expect([asked, status, essence(json)]).toEqual([asked, response.status, essence(wanted)]);
      compared++;
    }
    expect(compared).toBeGreaterThan(5);
  });
});
