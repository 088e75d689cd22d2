import { ApiError } from "../../wire/error.ts";
import { invalidValue } from "./request.ts";

/** How long texts may be, in characters. */
export const limits = {
  key: 250,
  param: 6000,
  tag: 8000,
  experimentName: 500,
  experimentTag: 20_000,
  location: 2048,
  datasetName: 500,
  datasetDigest: 36,
  datasetSource: 65_535,
  datasetSchema: 1_048_575,
  datasetProfile: 16_777_215,
  inputTagKey: 255,
  inputTagValue: 500,
};

/** Returns the key of a param, metric or tag, as MLflow takes it: it could be the path of a file. `path` is how an error calls it. */
export function checkKey(key: string, path: string): string {
  if (!/^[/\p{L}\p{N}_.\- :]*$/u.test(key))
    throw invalidKey(
      key,
      path,
      "Names may only contain alphanumerics, underscores (_), dashes (-), periods (.), spaces ( ), colon(:) and slashes (/).",
    );
  const resolved = normalized(key);
  if (resolved !== key || key === "." || key.startsWith("..") || key.startsWith("/"))
    throw invalidKey(
      key,
      path,
      `Names may be treated as files in certain cases, and must not resolve to other names when treated as such. This name would resolve to '${resolved}'`,
    );
  if (key.trim() === "") throw invalidValue(key, path, "It has no character to be seen");
  return key;
}

const invalidKey = (key: string, path: string, why: string) =>
  new ApiError("INVALID_PARAMETER_VALUE", invalidValue(key, path).message + `: ${why}`);

/** Python's posixpath.normpath. */
function normalized(path: string): string {
  const root = path.startsWith("/") ? "/" : "";
  const names: string[] = [];
  for (const name of path.split("/"))
    if (name === ".." && (names.length ? names.at(-1) !== ".." : root)) names.pop();
    else if (name !== "" && name !== ".") names.push(name);
  return root + names.join("/") || ".";
}

/** Returns a text unless it has more characters than it may. */
export function checkLength(text: string, name: string, limit: number): string {
  if (lengthOf(text) > limit)
    throw new ApiError(
      "INVALID_PARAMETER_VALUE",
      `'${name}' exceeds the maximum length of ${limit} characters`,
    );
  return text;
}

/** Returns as much of a text as is kept: MLflow cuts values that are too long without a word. */
export const cut = (text: string, limit: number): string =>
  lengthOf(text) > limit ? [...text].slice(0, limit).join("") : text;

/** Characters as Python counts them. */
const lengthOf = (text: string): number =>
  text.length - (text.match(/[\ud800-\udbff][\udc00-\udfff]/g)?.length ?? 0);
