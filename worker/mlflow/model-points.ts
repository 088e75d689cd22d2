import type { Context } from "hono";
import { ApiError, shown } from "../../wire/error.ts";
import type { ModelPoint } from "../../wire/logged-model.ts";
import { addModelPoints, unknownModels } from "../db/logged-models.ts";
import type { App } from "../env.ts";
import { checkLength, limits } from "./limits.ts";
import { string } from "./request.ts";

/** Which logged model a point is of, and on which dataset it was measured. */
export const OfModel = { model_id: string, dataset_name: string, dataset_digest: string };

/** A point as it is sent, with the model that it is of. */
interface SentPoint {
  key?: string | undefined;
  value?: number | undefined;
  timestamp?: number | undefined;
  step?: number | undefined;
  model_id: string | undefined;
  dataset_name: string | undefined;
  dataset_digest: string | undefined;
}

/** Returns those of some points that are of logged models; throws where one of these is not there. */
export async function pointsOfModels(
  c: Context<App>,
  run: string,
  sent: (SentPoint | undefined)[],
): Promise<Map<string, ModelPoint[]>> {
  const points = sent.flatMap((point) => (point?.model_id ? [point] : []));
  const byModel = Map.groupBy(points, ({ model_id }) => model_id!);
  const [unknown] = byModel.size ? await unknownModels(c.env.DB, [...byModel.keys()]) : [];
  if (unknown !== undefined)
    throw new ApiError("BAD_REQUEST", `Logged model with ID '${shown(unknown)}' not found.`);
  return new Map(
    Array.from(byModel, ([model, list]) => [model, list.map((point) => modelPoint(point, run))]),
  );
}

function modelPoint(point: SentPoint, run: string): ModelPoint {
  const { key = "", value = NaN, timestamp = 0, step = 0 } = point;
  const name = checkLength(point.dataset_name ?? "", "dataset_name", limits.datasetName);
  const digest = checkLength(point.dataset_digest ?? "", "dataset_digest", limits.datasetDigest);
  return { key, value, time: timestamp, step, run, dataset: name ? { name, digest } : null };
}

/** Keeps points of logged models, beside those of the run. */
export async function logModelPoints(
  c: Context<App>,
  points: Map<string, ModelPoint[]>,
): Promise<void> {
  if (points.size) await addModelPoints(c.env.DB, points);
}
