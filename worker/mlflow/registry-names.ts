import { ApiError, shown } from "../../wire/error.ts";
import { stages, type Stage } from "../../wire/model.ts";
import { checkKey, checkLength, limits } from "./limits.ts";
import { invalidValue, missing } from "./request.ts";

const invalid = (message: string) => new ApiError("INVALID_PARAMETER_VALUE", message);

/** Checks the name of a registered model; `field` is how the request calls it. */
export function checkModelName(name: string, field = "name"): string {
  if (name.trim() === "") throw missing(field);
  if (/[/:]/.test(name))
    throw invalid(`Invalid model name '${shown(name)}'. Names cannot contain '/' or ':'.`);
  if (name === "." || name === "..") checkKey(name, field);
  // eslint-disable-next-line no-control-regex -- control characters are what is looked for
  if (/[\u0000-\u001f\u007f]/.test(name))
    throw invalidValue(name, field, "Names may not contain control characters");
  return checkLength(name, field, 256);
}

/** Returns the number of a version, which comes as text. */
export function parseVersion(version: string): number {
  if (!/^\s*[+-]?\d+\s*$/.test(version))
    throw invalid(`Parameter 'version' must be an integer, got '${shown(version)}'.`);
  const number = Number(version);
  return Number.isSafeInteger(number) ? number : -1; // no version has it
}

/** Checks the name of an alias. */
export function checkAlias(alias: string): string {
  if (!/^[\p{L}\p{N}_-]*$/u.test(alias))
    throw invalid(
      `Invalid alias name: '${shown(alias)}'. Names may only contain alphanumerics, underscores (_), and dashes (-).`,
    );
  return checkLength(alias, "Registered model alias name", 255);
}

/** Checks that an alias is none of those that stand for versions by themselves. */
export function checkNotReserved(alias: string): void {
  if (alias.toLowerCase() === "latest")
    throw invalid("'latest' alias name (case insensitive) is reserved.");
  if (/^v\d+$/i.test(alias)) throw invalid(`Version alias name '${alias}' is reserved.`);
}

/** Returns the stage that a text names, in whatever case. */
export function parseStage(text: string): Stage {
  const stage = stages.find((known) => known.toLowerCase() === text.toLowerCase());
  if (!stage)
    throw invalid(
      `Invalid Model Version stage: ${shown(text)}. Value must be one of ${stages.join(", ")}.`,
    );
  return stage;
}

/** Checks the key of a tag of a registered model or of one of its versions. */
export const checkTagKey = (key: string): string =>
  checkLength(checkKey(key, "key"), "key", limits.key);

/** Checks a tag of a registered model or of one of its versions. */
export function checkRegistryTag(key: string, value: string): void {
  checkTagKey(key);
  if (key === "mlflow.prompt.text" && value.length > maxText)
    throw invalid(`Prompt text exceeds max length of ${maxText} characters.`);
  checkLength(value, "value", maxText);
}

/** Tags and notes have at most so many characters. */
const maxText = 100_000;

/** Checks the note of a registered model or of one of its versions. */
export const checkNote = (note: string): string => checkLength(note, "description", maxText);
