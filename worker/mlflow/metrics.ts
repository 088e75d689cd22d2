import { reads } from "./rights.ts";
import { Hono, type Context } from "hono";
import { ApiError } from "../../wire/error.ts";
import { toJSON } from "../../wire/json.ts";
import { concatPoints, takePoints, type Points } from "../../wire/point.ts";
import { readPoints, type PointRun, type PointSelection } from "../db/points.ts";
import { selectPointRuns } from "../db/runs.ts";
import type { App } from "../env.ts";
import { distinct } from "./metric.ts";
import { fromPageToken, pageToken } from "./page.ts";
import { int64, list, orElse, readRequest, required, string } from "./request.ts";
import { ofRun, runIdOf, RunRef } from "./runs.ts";

const invalid = (message: string) => new ApiError("INVALID_PARAMETER_VALUE", message);

/** How many points an answer holds at most. */
const mostPoints = 100_000;
const mostInBulk = 25_000;
const mostRuns = 100;
const mostPerRun = 2500;

export const metrics = new Hono<App>()
  .get("/2.0/mlflow/metrics/get-history", reads("the points of a metric"), async (c) => {
    const { metric_key, max_results, page_token, ...ref } = await readRequest(c, {
      ...RunRef,
      metric_key: required(string),
      max_results: orElse(int64, mostPoints),
      page_token: string,
    });
    const id = runIdOf(ref);
    if (max_results < 1)
      throw invalid(
        `Invalid value ${max_results} for parameter 'max_results' supplied. It must be a positive integer`,
      );
    const after = page_token ? fromPageToken(page_token, isPlace) : undefined;
    const [run] = await ofRun(id, selectPointRuns(c.env.DB, { experiments: [], runs: [id] }));
    const held = await pointsOf(c, run!, metric_key, { timeFrom: after?.[0] });
    const points = byTime(held);
    const begin = after ? firstBehind(points, after) : 0;
    const end = Math.min(points.step.length, begin + Math.min(max_results, mostPoints));
    const isLast = end === points.step.length;
    return answerPoints(
      c,
      rowsOf(metric_key, points, begin, end),
      isLast ? undefined : pageToken(placeOf(points, end - 1)),
    );
  })
  .get(
    "/2.0/mlflow/metrics/get-history-bulk",
    reads("the points of a metric of runs"),
    async (c) => {
      const { run_id, metric_key, max_results } = await readRequest(c, {
        run_id: list(required(string)),
        metric_key: string,
        max_results: orElse(int64, mostInBulk),
      });
      if (!run_id.length)
        throw invalid("GetMetricHistoryBulk request must specify at least one run_id.");
      if (run_id.length > mostRuns)
        throw invalid(
          `GetMetricHistoryBulk request cannot specify more than ${mostRuns} run_ids. Received ${run_id.length} run_ids.`,
        );
      if (metric_key === undefined)
        throw invalid("GetMetricHistoryBulk request must specify a metric_key.");
      const rows: string[] = [];
      const most = Math.min(Math.max(max_results, 0), mostInBulk);
      for (const run of await runsOf(c, run_id.toSorted())) {
        if (rows.length >= most) break;
        const points = byTime(await pointsOf(c, run, metric_key, {}));
        const end = Math.min(points.step.length, most - rows.length);
        rows.push(...rowsOf(metric_key, points, 0, end, run.id));
      }
      return answerPoints(c, rows);
    },
  )
  .get(
    "/2.0/mlflow/metrics/get-history-bulk-interval",
    reads("some points of a metric of runs, evenly chosen"),
    async (c) => {
      const { run_ids, metric_key, start_step, end_step, max_results } = await readRequest(c, {
        run_ids: required(list(string)),
        metric_key: required(string),
        start_step: int64,
        end_step: int64,
        max_results: orElse(int64, mostPerRun),
      });
      if (run_ids.length > mostRuns)
        throw invalid(
          `GetMetricHistoryBulkInterval request must specify at most ${mostRuns} run_ids. Received ${run_ids.length} run_ids.`,
        );
      if (max_results < 1 || max_results > mostPerRun)
        throw invalid(`max_results must be between 1 and ${mostPerRun}.`);
      if ((start_step === undefined) !== (end_step === undefined))
        throw invalid("If either start step or end step are specified, both must be specified.");
      if (start_step !== undefined && end_step !== undefined && start_step > end_step)
        throw invalid(
          `end_step must be greater than start_step. Found start_step=${start_step} and end_step=${end_step}.`,
        );
      const rows: string[] = [];
      for (const run of await runsOf(c, run_ids)) {
        const points = await pointsOf(c, run, metric_key, { from: start_step, to: end_step });
        const some = takePoints(points, evenPlaces(points.step.length, max_results));
        rows.push(...rowsOf(metric_key, some, 0, some.step.length, run.id));
      }
      return answerPoints(c, rows);
    },
  );

/** Returns the runs of ids, in their order, to read points of. */
function runsOf(c: Context<App>, ids: (string | undefined)[]): Promise<PointRun[]> {
  const runs = ids.filter((id) => id !== undefined);
  return selectPointRuns(c.env.DB, { experiments: [], runs }).catch((error: unknown) => {
    if (!(error instanceof ApiError)) throw error;
    throw new ApiError(
      error.code,
      error.message.replace(/^run not found: (.*)$/, "Run with id=$1 not found"),
    );
  });
}

/** Returns the points of a run's metric by step, time and value; of those that are the same throughout, one. */
async function pointsOf(
  c: Context<App>,
  run: PointRun,
  metric: string,
  selection: PointSelection,
): Promise<Points> {
  const parts: Points[] = [];
  for await (const part of readPoints(c.env, [run], { ...selection, key: (key) => key === metric }))
    parts.push(part.decode());
  return distinct(concatPoints(parts));
}

/** Returns points by time, step and value, as MLflow lists them. */
function byTime(points: Points): Points {
  const { step, time } = points;
  let isSorted = true;
  for (let i = 1; i < time.length && isSorted; i++) isSorted = time[i - 1]! <= time[i]!;
  if (isSorted) return points;
  const places = Uint32Array.from(time, (_, i) => i);
  // They are by step, time and value already, and sorting keeps that order among equals.
  places.sort((a, b) => time[a]! - time[b]! || step[a]! - step[b]! || a - b);
  return takePoints(points, places);
}

/** Where a page ended: at a time and a step, and how many points of just these it had by then. */
type Place = [time: number, step: number, count: number];

const isPlace = (next: unknown[]): next is Place =>
  next.length === 3 && next.every((value) => Number.isSafeInteger(value));

function placeOf({ time, step }: Points, last: number): Place {
  let first = last;
  while (time[first - 1] === time[last] && step[first - 1] === step[last]) first--;
  return [time[last]!, step[last]!, last - first + 1];
}

/** Returns the first point behind a place. */
function firstBehind({ time, step }: Points, [atTime, atStep, count]: Place): number {
  let i = 0;
  while (i < time.length && (time[i]! < atTime || (time[i] === atTime && step[i]! < atStep))) i++;
  for (let n = 0; n < count && time[i] === atTime && step[i] === atStep; n++) i++;
  return i;
}

/** Returns `most` of `count` places, evenly, the first and the last among them; the last alone where it is one. */
function evenPlaces(count: number, most: number): Uint32Array {
  if (count <= most) return Uint32Array.from({ length: count }, (_, i) => i);
  if (most === 1) return Uint32Array.of(count - 1);
  return Uint32Array.from({ length: most }, (_, i) => Math.round((i * (count - 1)) / (most - 1)));
}

/** Returns points as JSON, each an object. */
function rowsOf(
  metric: string,
  { step, time, value }: Points,
  begin: number,
  end: number,
  run?: string,
): string[] {
  const key = JSON.stringify(metric);
  const tail = run === undefined ? "}" : `,"run_id":${JSON.stringify(run)}}`;
  const rows: string[] = [];
  for (let i = begin; i < end; i++)
    rows.push(
      `{"key":${key},"value":${numberText(value[i]!)},"timestamp":${time[i]},"step":${step[i]}${tail}`,
    );
  return rows;
}

/** A number as toJSON writes it, which takes its time for each. */
const numberText = (value: number): string =>
  value !== 0 && Number.isFinite(value) ? `${value}` : toJSON(value);

const answerPoints = (c: Context, rows: string[], next?: string): Response =>
  c.body(
    `{${[
      ...(rows.length ? [`"metrics":[${rows.join(",")}]`] : []),
      ...(next === undefined ? [] : [`"next_page_token":"${next}"`]),
    ].join(",")}}`,
    200,
    { "content-type": "application/json" },
  );
