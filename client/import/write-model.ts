import { shown } from "../../wire/error.ts";
import {
  maxVersions,
  stages,
  type Model,
  type ModelVersion,
  type Stage,
  type WholeModel,
} from "../../wire/model.ts";
import type { FoundModel, FoundVersion, OnSkip } from "./found.ts";
import { runIdFrom } from "./ids.ts";
import { pagesOf } from "./pages.ts";
import type { PatientApi } from "./patient.ts";
import type { ImportReport } from "./report.ts";
import { checkedText, checkedTexts, isTime, maxNote } from "./write-experiment.ts";

/** Writes a registered model or a prompt with its versions and aliases; of what is here and otherwise it says so. */
export async function writeModel(
  api: PatientApi,
  found: FoundModel,
  report: ImportReport,
): Promise<void> {
  const owner = `${found.isPrompt ? "prompt" : "registered model"} ${shown(found.name)}`;
  const onSkip: OnSkip = (skip) => report.skipped.push(skip);
  const path = `/models/${encodeURIComponent(found.name)}`;
  const there = await api.maybe<Model>(path);
  const created = [found.created, found.updated].find(isTime) ?? 0;
  const versions = await Promise.all(
    found.versions.map((version) => versionFrom(version, found, owner, onSkip)),
  );
  const body: WholeModel = {
    name: found.name,
    note: checkedText(found.description, maxNote, { what: "note", owner, onSkip }),
    tags: checkedTexts(found.tags, "tag", owner, onSkip),
    aliases: Object.entries(found.aliases).map(([alias, number]) => ({
      alias,
      number: Number(number),
    })),
    created,
    updated: [found.updated, created].find(isTime) ?? 0,
  };
  for (const lot of lotsOf(versions))
    await api.json("POST", "/models", { body: { ...body, versions: lot } });
  if (!there) report.models.added++;
  const here = new Map<number, ModelVersion>();
  for await (const page of pagesOf<{ versions: ModelVersion[] }>(api, path, { cursor: "before" }))
    for (const version of page.versions) here.set(version.number, version);
  for (const { number, source } of versions) {
    const version = here.get(number);
    const name = `version ${number} of ${owner}`;
    if (!version)
      onSkip({ what: "version", name, why: "was deleted here, and a number is given once" });
    else if (version.source !== source)
      report.problems.push({
        what: "version",
        name,
        why: `comes from ${shown(version.source)} here, from ${shown(source)} there`,
      });
  }
}

/** So many characters of versions go in one request. */
const maxLot = 500_000;

/** Parts versions, by their numbers, into what one request may carry; of none there is one lot. */
function lotsOf<T extends { number: number }>(versions: T[]): T[][] {
  const lots: T[][] = [[]];
  let size = 0;
  for (const version of versions.toSorted((a, b) => a.number - b.number)) {
    const length = JSON.stringify(version).length;
    const lot = lots.at(-1)!;
    if (lot.length && (lot.length === maxVersions || size + length > maxLot)) {
      lots.push([version]);
      size = length;
    } else {
      lot.push(version);
      size += length;
    }
  }
  return lots;
}

async function versionFrom(
  version: FoundVersion,
  { created }: FoundModel,
  model: string,
  onSkip: OnSkip,
) {
  const owner = `version ${version.version} of ${model}`;
  if (version.status !== "READY")
    onSkip({ what: "status", name: owner, why: `is READY here, not ${shown(version.status)}` });
  const made = [version.created, version.updated, created].find(isTime) ?? 0;
  return {
    number: Number(version.version),
    source: checkedText(version.source, 10_000, { what: "source", owner, onSkip }),
    run: version.run === null ? null : await runIdFrom(version.run),
    built: version.loggedModel,
    stage: stageFrom(version.stage, owner, onSkip),
    note: checkedText(version.description, maxNote, { what: "note", owner, onSkip }),
    tags: checkedTexts(version.tags, "tag", owner, onSkip),
    created: made,
    updated: [version.updated, made].find(isTime) ?? 0,
  };
}

function stageFrom(stage: string, owner: string, onSkip: OnSkip): Stage {
  const known = stages.find((one) => one === stage);
  if (known === undefined)
    onSkip({ what: "stage", name: owner, why: `is None here, not ${shown(stage)}` });
  return known ?? "None";
}
