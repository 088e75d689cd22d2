import { shown } from "../../wire/error.ts";
import {
  maxModelPoints,
  type LoggedModel,
  type ModelPoint,
  type WholeLoggedModel,
} from "../../wire/logged-model.ts";
import { isName } from "../../wire/parse.ts";
import type { FoundLoggedModel, OnSkip } from "./found.ts";
import { runIdFrom } from "./ids.ts";
import type { PatientApi } from "./patient.ts";
import type { ImportReport } from "./report.ts";
import { checkedText, checkedTexts, isTime } from "./write-experiment.ts";
import { writeFiles } from "./write-files.ts";

/** Writes a model that a run built, with its files: what is not here yet is added, what is here stays as it is. */
export async function writeLoggedModel(
  api: PatientApi,
  found: FoundLoggedModel,
  experiment: string,
  report: ImportReport,
): Promise<void> {
  const owner = `logged model ${found.id}`;
  const onSkip: OnSkip = (skip) => report.skipped.push(skip);
  const there = await api.maybe<LoggedModel>(`/logged-models/${encodeURIComponent(found.id)}`);
  const created = [found.created, found.updated].find(isTime) ?? 0;
  const updated = [found.updated, found.created].find(isTime) ?? 0;
  const body: WholeLoggedModel = {
    id: found.id,
    experiment,
    name: checkedText(found.name, 500, { what: "name", owner, onSkip }),
    type: checkedText(found.type ?? "", 500, { what: "type", owner, onSkip }),
    state: found.status,
    run: found.run === null ? null : await runIdFrom(found.run),
    params: checkedTexts(found.params, "param", owner, onSkip),
    tags: checkedTexts(found.tags, "tag", owner, onSkip),
    points: await pointsOf(found, onSkip),
    created,
    updated,
    deleted: found.deleted ? updated : null,
  };
  const written = await api.json<LoggedModel>("POST", "/logged-models", { body });
  if (!there) report.loggedModels.added++;
  if (written.name !== found.name && there?.name !== written.name)
    onSkip({ what: "name", name: owner, why: `is ${shown(written.name)} here` });
  if (found.deleted !== (written.deleted !== null))
    onSkip({
      what: "deletion",
      name: owner,
      why: found.deleted ? "is deleted there and not here" : "is deleted here and not there",
    });
  await writeFiles(api, `/logged-models/${encodeURIComponent(found.id)}`, found.files(), {
    owner,
    isNew: !there,
    isClosed: false,
    report,
  });
}

/** Returns the points of a logged model that may stand here; says how many may not. */
async function pointsOf(found: FoundLoggedModel, onSkip: OnSkip): Promise<ModelPoint[]> {
  const name = `logged model ${found.id}`;
  const sound = found.metrics.filter(
    ({ key, step, time }) => isName(key) && Number.isSafeInteger(step) && isTime(time),
  );
  const say = (count: number, why: string): void =>
    void (count && onSkip({ what: "points", name, why: `${why} (${count} points)` }));
  say(found.metrics.length - sound.length, "no key, a step beyond 2^53 or no time");
  say(
    sound.length - maxModelPoints > 0 ? sound.length - maxModelPoints : 0,
    "stay with their runs",
  );
  say(
    sound.filter(({ value }) => Math.abs(value) === Infinity).length,
    `±Infinity stands as ±${Number.MAX_VALUE}`,
  );
  return Promise.all(
    sound.slice(-maxModelPoints).map(async ({ run, ...point }) => ({
      ...point,
      run: run === null ? "" : await runIdFrom(run),
    })),
  );
}
