import { ApiError } from "../../wire/error.ts";
import { emptyPoints, sortedPlaces, takePoints, type Points } from "../../wire/point.ts";
import { maxTime } from "../../wire/time.ts";
import { checkKey, checkLength, limits } from "./limits.ts";
import { OfModel } from "./model-points.ts";
import { double, int64, invalidValue, message, missing, string } from "./request.ts";

/** A point as it is sent. */
export const Metric = message({
  key: string,
  value: double,
  timestamp: int64,
  step: int64,
  ...OfModel,
});

/** A point that was checked. */
export interface CheckedMetric {
  key: string;
  value: number;
  timestamp: number;
  step: number;
}

/** Returns a point, checked; `path` is how errors call it. */
export function checkMetric(
  metric: {
    key?: string | undefined;
    value?: number | undefined;
    timestamp?: number | undefined;
    step?: number | undefined;
  },
  path = "",
): CheckedMetric {
  const { key = "", value, timestamp = 0, step = 0 } = metric;
  checkKey(key, `${path}name`);
  if (value === undefined) throw missing(`${path}value`);
  if (timestamp < 0 || timestamp > maxTime)
    throw new ApiError(
      "INVALID_PARAMETER_VALUE",
      `${invalidValue(timestamp, `${path}timestamp`).message}: metric '${key}' (value=${value}). Timestamp must be a nonnegative long (64-bit integer) of milliseconds`,
    );
  checkLength(key, "Metric name", limits.key);
  return { key, value, timestamp, step };
}

/** Returns points as columns, sorted; of those that are the same throughout, one. */
export function pointsOf(metrics: CheckedMetric[]): Points {
  const keys = [...new Set(metrics.map(({ key }) => key))];
  const index = new Map(keys.map((key, k) => [key, k]));
  const points = emptyPoints(keys, metrics.length);
  metrics.forEach(({ key, value, timestamp, step }, i) => {
    points.key[i] = index.get(key)!;
    points.step[i] = step;
    points.time[i] = timestamp;
    points.value[i] = value;
  });
  return distinct(takePoints(points, sortedPlaces(points)));
}

/** Returns sorted points without those that are the same as the one before. */
export function distinct(points: Points): Points {
  const { key, step, time, value } = points;
  const places = new Uint32Array(step.length);
  let count = 0;
  for (let i = 0; i < step.length; i++) {
    const isSame =
      i > 0 &&
      key[i] === key[i - 1] &&
      step[i] === step[i - 1] &&
      time[i] === time[i - 1] &&
      Object.is(value[i], value[i - 1]);
    if (!isSame) places[count++] = i;
  }
  return count === step.length ? points : takePoints(points, places.subarray(0, count));
}
