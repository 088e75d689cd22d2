import { isId } from "../../wire/id.ts";
import type { Log } from "../db/log.ts";
import { checkKey, checkLength, cut, limits } from "./limits.ts";
import { message, required, string } from "./request.ts";

/** A tag as it is sent. */
export const Tag = message({ key: string, value: string });
export const LoneTag = { key: required(string), value: string };

/** A tag, or a param, as MLflow writes it. */
export interface KeyValue {
  key: string;
  value: string;
}

/** Tags of MLflow's that say what we keep elsewhere. */
export const nameTag = "mlflow.runName";
export const parentTag = "mlflow.parentRunId";
export const noteTag = "mlflow.note.content";
export const userTag = "mlflow.user";
export const historyTag = "mlflow.log-model.history";

/** Returns a tag of a run, checked, its value cut where it is too long. */
export function checkTag(
  tag: { key: string | undefined; value: string | undefined } | undefined,
  path = "",
): KeyValue {
  const { key = "", value = "" } = tag ?? {};
  checkKey(key, `${path}key`);
  return { key: checkLength(key, `${path}key`, limits.key), value: cut(value, limits.tag) };
}

/** Returns what tags of MLflow's say of a run: its name, note and parent, and the tags that are left. */
export function logOfTags(tags: KeyValue[]): Pick<Log, "tags" | "name" | "note" | "parent"> {
  const log: Pick<Log, "name" | "note" | "parent"> = {};
  const others = new Map<string, string | null>();
  for (const { key, value } of tags)
    if (key === nameTag) log.name = value || log.name;
    else if (key === noteTag) log.note = value;
    else if (key === parentTag) {
      log.parent = isId(value) ? value : "";
      others.set(key, isId(value) ? null : value);
    } else others.set(key, value);
  return { ...log, tags: Object.fromEntries(others) };
}

/** Returns the tags that a run has in MLflow's eyes. */
export function tagsOfRun({
  name,
  note,
  parent,
  tags,
}: {
  name: string;
  note: string;
  parent: string | null;
  tags: Record<string, string>;
}): KeyValue[] {
  return [
    ...tagList(tags),
    ...(note ? [{ key: noteTag, value: note }] : []),
    ...(parent === null ? [] : [{ key: parentTag, value: parent }]),
    { key: nameTag, value: name },
  ];
}

export const tagList = (tags: Record<string, string>): KeyValue[] =>
  Object.entries(tags).map(([key, value]) => ({ key, value }));
