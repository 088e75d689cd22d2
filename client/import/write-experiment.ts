import { TagsSchema, TextsSchema, type Tags } from "../../wire/config.ts";
import { shown } from "../../wire/error.ts";
import { NewExperiment, type Experiment, type ExperimentPatch } from "../../wire/experiment.ts";
import { isName, parse } from "../../wire/parse.ts";
import { maxTime } from "../../wire/time.ts";
import type { FoundExperiment, OnSkip } from "./found.ts";
import { experimentIdFrom } from "./ids.ts";
import { experimentIdTag } from "./mlflow-tags.ts";
import type { PatientApi } from "./patient.ts";

/** An experiment here that stands for one found elsewhere. */
interface WrittenExperiment {
  id: string;
  isNew: boolean;
}

/**
 * Finds or creates the experiment that a found one is here: the one it was imported as before, else the one of its name.
 * To one that is there it adds what that lacks. `taken` holds the names that others of this import have.
 */
export async function writeExperiment(
  api: PatientApi,
  found: FoundExperiment,
  taken: Set<string>,
  onSkip: OnSkip,
): Promise<WrittenExperiment> {
  const id = await experimentIdFrom(found);
  const wanted = nameOf(found, id);
  const name = taken.has(wanted) ? `${wanted.slice(0, 200)} (${shown(found.id)})` : wanted;
  taken.add(name);
  if (name !== found.name)
    onSkip({
      what: "name",
      name: `experiment ${shown(found.name)}`,
      why: `is ${shown(name)} here`,
    });
  const note = found.note.toWellFormed().slice(0, maxNote);
  const tags = checkedTags(
    { ...found.tags, [experimentIdTag]: found.id },
    `experiment ${shown(found.name)}`,
    onSkip,
  );
  const there =
    (await api.maybe<Experiment>(`/experiments/${id}`)) ??
    (await api.maybe<Experiment>(`/experiments/${encodeURIComponent(name)}`));
  if (there) {
    await addMissing(api, there, { note, tags });
    return { id: there.id, isNew: false };
  }
  const created = isTime(found.created) ? { created: found.created } : {};
  await api.json("POST", "/experiments", { body: { id, name, note, tags, ...created } });
  if (found.deleted) await api.json("DELETE", `/experiments/${id}`);
  return { id, isNew: true };
}

export const maxNote = 100_000;

/** Whether a time can stand here. */
export const isTime = (time: number | null): time is number =>
  time !== null && time >= 0 && time <= maxTime;

/** Returns a name as one may stand here: one line, not too long, none that a path or an id could be. */
function nameOf({ name, id }: FoundExperiment, ownId: string): string {
  const plain = plainName(name);
  if (!isOfExperiment(plain)) return `experiment ${id}`;
  return plain === name ? plain : `${plain.slice(0, 200)} ${ownId.slice(0, 8)}`;
}

/** Whether an experiment may have a name: not if it could be taken for an id or a path. */
function isOfExperiment(name: string): boolean {
  try {
    parse(NewExperiment, { name });
    return true;
  } catch {
    return false;
  }
}

/** Returns a text as one line of at most 250 characters; "" where nothing of it is left. */
export function plainName(name: string): string {
  const plain = name
    // eslint-disable-next-line no-control-regex -- control characters are what goes
    .replace(/[\u0000-\u001f\u007f]+/g, " ")
    .trim()
    .slice(0, 250)
    .toWellFormed();
  return isName(name) ? name : isName(plain) ? plain : "";
}

/** Returns the tags that may stand here; says what is wrong with the others. */
export function checkedTags(
  tags: Tags,
  owner: string,
  onSkip: OnSkip,
  { what = "tag", schema = TagsSchema }: { what?: string; schema?: TextsOrTags } = {},
): Tags {
  return Object.fromEntries(
    Object.entries(tags).filter(([key, value]) => {
      try {
        parse(schema, Object.fromEntries([[key, value]]));
        return true;
      } catch (error) {
        onSkip({ what, name: `${shown(key)} of ${owner}`, why: (error as Error).message });
        return false;
      }
    }),
  );
}

type TextsOrTags = typeof TagsSchema | typeof TextsSchema;

/** Returns the texts that may stand here as those of another tracker do; says what is wrong with the others. */
export const checkedTexts = (texts: Tags, what: string, owner: string, onSkip: OnSkip): Tags =>
  checkedTags(texts, owner, onSkip, { what, schema: TextsSchema });

/** Returns a text that may stand here; says where it is cut. */
export function checkedText(
  text: string,
  limit: number,
  { what, owner, onSkip }: { what: string; owner: string; onSkip: OnSkip },
): string {
  if (text.length > limit) onSkip({ what, name: owner, why: `cut to ${limit} characters` });
  return text.toWellFormed().slice(0, limit).toWellFormed();
}

async function addMissing(
  api: PatientApi,
  there: Experiment,
  { note, tags }: { note: string; tags: Tags },
): Promise<void> {
  const missing = Object.entries(tags).filter(([key]) => !Object.hasOwn(there.tags, key));
  const patch: ExperimentPatch = {
    ...(missing.length ? { tags: Object.fromEntries(missing) } : {}),
    ...(note && !there.note ? { note } : {}),
  };
  if (Object.keys(patch).length)
    await api.json("PATCH", `/experiments/${there.id}`, { body: patch });
}
