import { ApiError, shown } from "../../wire/error.ts";
import type { LoggedModel } from "../../wire/logged-model.ts";
import type { ModelVersion } from "../../wire/model.ts";

/** What a version's source is said to be, and what it is said to come from. */
export interface ClaimedSource {
  source: string;
  /** undefined where the request does not say */
  run: string | undefined;
  built: string | undefined;
}

/** Where a version comes from and where its files are. */
export interface ResolvedSource {
  source: string;
  location: string;
  run: string | null;
  built: string | null;
}

/** What sources are checked against. Each gives null where there is none. */
export interface Known {
  /** where a run's files are, as a URI */
  runLocation: (run: string) => Promise<string | null>;
  loggedModel: (id: string) => Promise<LoggedModel | null>;
  /** the version that a name with a number, a stage, an alias or `latest` means */
  version: (named: NamedVersion) => Promise<ModelVersion>;
}

/** How a source such as models:/clf/3 names a version. */
export type NamedVersion = { name: string } & (
  | { number: number }
  | { stage: string }
  | { alias: string }
  | { latest: true }
);

/**
 * Returns what a new version comes from. What lies here must belong to the run or the logged model that is named; what lies
 * elsewhere must be a place in an object store, written without detours. The request's tags have no say in it.
 */
export async function resolveSource(claimed: ClaimedSource, known: Known): Promise<ResolvedSource> {
  const { source } = claimed;
  const plain = fullyDecoded(source);
  const scheme = schemeOf(plain);
  if (scheme === "" || scheme === "file" || /^[a-z]$/.test(scheme)) throw localPath(claimed);
  if (hosted.has(scheme) || (scheme === "mlflow-artifacts" && authorityOf(plain) !== ""))
    throw invalid(
      source,
      `The scheme '${scheme}' would be read from the host that it names, which this server does not do`,
    );
  checkPath(source, plain);
  if (scheme === "models") return resolveModel(claimed, plain, known);
  if (scheme === "runs") return resolveRun(claimed, plain, known);
  const place = { source, location: source };
  if (scheme !== "mlflow-artifacts") return { ...place, ...(await resolveOrigin(claimed, known)) };
  if (claimed.built) {
    const model = await known.loggedModel(claimed.built);
    if (!model || !isWithin(plain, model.location)) throw mismatch(source, "model_id");
    return { ...place, run: claimed.run || model.run, built: model.id };
  }
  const root = claimed.run ? await known.runLocation(claimed.run) : null;
  if (root === null || !isWithin(plain, root)) throw mismatch(source, "run_id");
  return { ...place, run: claimed.run!, built: null };
}

/** Schemes of places that are reached by the host in them. */
const hosted = new Set(["http", "https", "ftp", "sftp"]);

async function resolveModel(
  claimed: ClaimedSource,
  plain: string,
  known: Known,
): Promise<ResolvedSource> {
  const { source, run, built } = claimed;
  const named = authorityOf(plain) === "" ? parseModelURI(plain) : undefined;
  if (!named) throw mismatch(source, "model_id");
  if ("id" in named) {
    const model = built === named.id ? await known.loggedModel(named.id) : null;
    if (!model) throw mismatch(source, "model_id");
    return { source, location: model.location, run: run || model.run, built: model.id };
  }
  const version = await known.version(named);
  const isSame = (asked: string | undefined, own: string | null) =>
    asked === undefined || asked === (own ?? "");
  if (!isSame(run, version.run) || !isSame(built, version.built))
    throw invalid(
      source,
      "The run_id and model_id request parameters must match the referenced model version",
    );
  return {
    source: `models:/${version.model}/${version.number}`,
    location: version.location,
    run: version.run,
    built: version.built,
  };
}

/** A source within a run, which clients resolve themselves unless they are old. */
async function resolveRun(
  { source, run, built }: ClaimedSource,
  plain: string,
  known: Known,
): Promise<ResolvedSource> {
  const [, named, path = ""] = /^runs:\/([^/]+)(?:\/(.*))?$/.exec(plain) ?? [];
  if (built || !named || named !== run) throw mismatch(source, built ? "model_id" : "run_id");
  const root = await known.runLocation(run);
  if (root === null) throw mismatch(source, "run_id");
  return { source, location: path ? `${root}/${path}` : root, run, built: null };
}

async function resolveOrigin(
  { run, built }: ClaimedSource,
  known: Known,
): Promise<Pick<ResolvedSource, "run" | "built">> {
  if (!built) return { run: run || null, built: null };
  const model = await known.loggedModel(built);
  return { run: run || (model?.run ?? null), built };
}

/** Returns what a models:/ URI names, or undefined where it is none. */
function parseModelURI(uri: string): { id: string } | NamedVersion | undefined {
  const [, first, second] = /^models:\/+([^/]+)(?:\/([^/]+))?$/.exec(uri) ?? [];
  if (!first?.trim()) return undefined;
  if (second === undefined) {
    const [, name, alias] = /^(.+)@([^@]+)$/.exec(first) ?? [];
    return name && alias ? { name, alias } : { id: first };
  }
  if (/^\d+$/.test(second)) return { name: first, number: Number(second) };
  if (second.toLowerCase() === "latest") return { name: first, latest: true };
  return second.trim() ? { name: first, stage: second } : undefined;
}

/** Undoes percent-encoding until there is none left, as whoever reads it in the end may do so more than once. */
function fullyDecoded(uri: string): string {
  for (let text = uri; ;) {
    const next = text.replace(/(?:%[0-9a-f]{2})+/gi, (encoded) => {
      try {
        return decodeURIComponent(encoded);
      } catch {
        return "\0"; // not UTF-8: it is no path
      }
    });
    if (next === text) return text;
    text = next;
  }
}

/** The scheme of a URI in lower case; empty where it has none. */
const schemeOf = (uri: string): string =>
  /^([a-z][a-z0-9+.-]*):/i.exec(uri)?.[1]?.toLowerCase() ?? "";

const authorityOf = (uri: string): string => /^[^:]+:\/\/([^/]*)/.exec(uri)?.[1] ?? "";

/** Refuses what could lead out of the place it names, however it is written. */
function checkPath(source: string, plain: string): void {
  // eslint-disable-next-line no-control-regex -- control characters are what is looked for
  const isOurs = plain.startsWith("mlflow-artifacts:");
  if (
    /[\u0000-\u001f\u007f\\]/.test(plain) ||
    /(^|[/:?#;])\.{1,2}([/?#;]|$)/.test(plain) ||
    (isOurs && /[;#?]/.test(plain))
  )
    throw invalid(
      source,
      "If supplying a source as an http, https, local file path, ftp, objectstore, or mlflow-artifacts uri, an absolute path must be provided without relative path references present. Please provide an absolute path",
    );
}

/** Whether a URI lies in the folder of another, or is it. */
function isWithin(uri: string, root: string): boolean {
  const [parts, rootParts] = [uri, root].map((text) => text.split("/").filter(Boolean));
  return rootParts!.every((part, i) => part === parts![i]);
}

const invalid = (source: string, why: string) =>
  new ApiError(
    "INVALID_PARAMETER_VALUE",
    `Invalid model version source: '${shown(source)}'. ${why}.`,
  );

const mismatch = (source: string, field: "run_id" | "model_id") =>
  invalid(
    source,
    `The ${field} request parameter must identify the resource that contains the source`,
  );

const localPath = ({ source, built }: ClaimedSource) => {
  const field = built ? "model_id" : "run_id";
  return invalid(
    source,
    `To use a local path as a model version source, the ${field} request parameter has to be specified and the local path has to be contained within the artifact directory of the run specified by the ${field}`,
  );
};
