import type { Found } from "../../../client/import/found.ts";
import { filesOf, gather, plainTrace, pointsOf } from "./expected.ts";

/** What readers found, in a form in which two stores with the same content are equal: in an order of its own, read whole. */
export async function comparable(found: AsyncIterable<Found>) {
  const { experiments, runs, loggedModels, models, traces } = await gather(found);
  return {
    experiments: experiments.sort(byId),
    runs: (
      await Promise.all(
        runs.map(async ({ points: _, files: __, ...run }) => ({
          ...run,
          inputs: run.inputs.sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1)),
          points: sortedPoints(await pointsOf({ ...run, points: _, files: __ })),
          files: await filesOf(__()),
        })),
      )
    ).sort(byId),
    loggedModels: (
      await Promise.all(
        loggedModels.map(async ({ files, ...model }) => ({
          ...model,
          metrics: model.metrics.sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1)),
          files: await filesOf(files()),
        })),
      )
    ).sort(byId),
    models: models.sort((a, b) => (a.name < b.name ? -1 : 1)),
    traces: traces.map(plainTrace).sort((a, b) => (a.trace_id < b.trace_id ? -1 : 1)),
  };
}

const byId = (a: { id: string }, b: { id: string }): number => (a.id < b.id ? -1 : 1);

/** Points by step, time and value: stores differ in the order in which they keep those of equal steps. */
const sortedPoints = (byKey: Awaited<ReturnType<typeof pointsOf>>) =>
  Object.fromEntries(
    Object.entries(byKey).map(([key, points]) => [
      key,
      points.sort((a, b) => a[1] - b[1] || a[0] - b[0] || (String(a[2]) < String(b[2]) ? -1 : 1)),
    ]),
  );
