import { reads, writes } from "./rights.ts";
import { Hono, type Context } from "hono";
import { ApiError } from "../../wire/error.ts";
import { checkPath, maxFile } from "../../wire/file.ts";
import { isId } from "../../wire/id.ts";
import { signatureOf } from "../auth/visitor.ts";
import { readBytes } from "../body.ts";
import {
  deleteOwnedFiles,
  findOwnedFile,
  findOwner,
  nobody,
  putOwnedFile,
  selectOwnedFiles,
  type Owner,
  type OwnerRun,
  type StoredFile,
} from "../db/files.ts";
import type { App } from "../env.ts";
import { parseRange } from "../routes/answer.ts";
import { answer } from "./json.ts";
import { mediaTypeOf } from "./media-type.ts";
import { int64, missing, orElse, readRequest, required, string } from "./request.ts";
import { artifactsOf } from "./run-json.ts";
import { runIdOf, RunRef } from "./runs.ts";

const invalid = (message: string) => new ApiError("INVALID_PARAMETER_VALUE", message);

/** Whose file, or folder, a path of the store of artifacts is, and where it is among theirs. */
export interface Place {
  owner: Owner;
  path: string;
}

/** Returns a path unless it leads elsewhere, however often it is decoded. */
export function checkArtifact(path: string): string {
  for (let decoded = path, i = 0; i < 10; i++) {
    // eslint-disable-next-line no-control-regex -- control characters are what is looked for
    const isBad =
      /[\\\u0000]/.test(decoded) ||
      /^(\/|[a-z]:|file:)/i.test(decoded) ||
      decoded.split(/[/\u2044\u2215\uff0f]/).some((name) => name === "..");
    if (isBad) throw invalid("Invalid path");
    const next = decodedOnce(decoded);
    if (next === decoded) break;
    decoded = next;
  }
  return path;
}

/** Python's unquote: what is no escape stays as it is. */
const decodedOnce = (path: string): string =>
  path.replace(/(%[0-9a-f]{2})+/gi, (escapes) => {
    try {
      return decodeURIComponent(escapes);
    } catch {
      return escapes;
    }
  });

/** Returns the path of a file, checked. */
export function checkFilePath(path: string): string {
  try {
    return checkPath(checkArtifact(path));
  } catch (error) {
    if (error instanceof ApiError) throw invalid("Invalid path");
    throw error;
  }
}

/** The path in a URL behind a mark, decoded. */
export function pathBehind(c: Context, mark: string): string {
  const { pathname } = new URL(c.req.url);
  return decodedOnce(pathname.slice(pathname.indexOf(mark) + mark.length));
}

/** Returns the place that a path of the store of artifacts is: <experiment>/<run>/artifacts/… is a run's, all else nobody's. */
export async function placeOf(c: Context<App>, path: string): Promise<Place> {
  const names = path.split("/");
  const at = names.findIndex((name, i) => isId(name) && names[i + 1] === "artifacts");
  const run = at < 0 ? undefined : await findOwner(c.env.DB, names[at]!);
  const root = run && rootOf(run);
  if (!run || root === undefined || (path !== root && !path.startsWith(`${root}/`)))
    return { owner: nobody, path };
  return { owner: run, path: path.slice(root.length + 1) };
}

/** Where the files of a run lie in the store of artifacts; undefined where they lie elsewhere. */
function rootOf(run: OwnerRun): string | undefined {
  const [, root] = /^mlflow-artifacts:\/*(.*)$/.exec(artifactsOf(run)) ?? [];
  return root;
}

/** Returns a run and a path among its files. */
async function placeInRun(
  c: Context<App>,
  id: string,
  path: string,
): Promise<{ owner: OwnerRun; path: string }> {
  const owner = await findOwner(c.env.DB, id);
  if (!owner) throw new ApiError("RESOURCE_DOES_NOT_EXIST", `Run with id=${id} not found`);
  if (rootOf(owner) === undefined)
    throw new ApiError(
      "NOT_IMPLEMENTED",
      `Files of this run lie at ${artifactsOf(owner)}, where this server does not look`,
    );
  return { owner, path };
}

/** Stores the body of a request as a file. */
async function put(c: Context<App>, { owner, path }: Place): Promise<void> {
  const limit = c.env.LOOPBACK === "1" ? maxLocal : maxFile;
  const length = c.req.header("content-length");
  if (Number(length) > limit) throw tooLarge(Number(length), limit);
  // Python sends a file without content in chunks, without a length, which R2 wants to know before.
  const bytes =
    length === undefined || !c.req.raw.body ? await readBytes(c, maxInMemory) : undefined;
  const upload = {
    path,
    type: mediaTypeOf(path),
    size: bytes?.length ?? Number(length),
    body: bytes ? new Blob([bytes]).stream() : c.req.raw.body!,
  };
  await putOwnedFile(c.env, owner, upload, c.get("visitor").who);
}

/** The largest file that comes in one request on this machine, where no platform stands before the Worker: R2's own limit. */
const maxLocal = 5_000_000_000;
/** Bodies without a length are read into memory, up to so many bytes. */
export const maxInMemory = 32_000_000;
/** What pages may send at once. */
const maxFromPage = 10 * 1024 * 1024;

const tooLarge = (size: number, limit: number) =>
  new ApiError(
    "REQUEST_TOO_LARGE",
    `Artifact is too large for one request: ${size} bytes, limit ${limit}. Set MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD=true and MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE=${limit / 2} where the client runs, so that it sends large files in parts`,
  );

/** Answers with a file, whole or by Range: always as a download, so that nothing in it runs on our origin. */
async function send(c: Context<App>, { file, open }: StoredFile): Promise<Response> {
  const name = file.path.slice(file.path.lastIndexOf("/") + 1);
  const headers = new Headers({
    "content-type": mediaTypeOf(file.path),
    "content-disposition": dispositionOf(name),
    "content-security-policy": "default-src 'none'; sandbox",
    "x-content-type-options": "nosniff",
    "accept-ranges": "bytes",
    "cache-control": "private, no-cache",
    etag: `"${file.sha256}"`,
  });
  const range = parseRange(c, file.size);
  headers.set("content-length", String(range?.length ?? file.size));
  if (range)
    headers.set(
      "content-range",
      `bytes ${range.offset}-${range.offset + range.length - 1}/${file.size}`,
    );
  const isEmpty = c.req.method === "HEAD" || file.size === 0;
  return new Response(isEmpty ? null : await open(range), { status: range ? 206 : 200, headers });
}

/** A download under a name, in ASCII and as it is (RFC 6266). */
function dispositionOf(name: string): string {
  const ascii = name
    .normalize("NFKD")
    .replace(/[^\x20-\x7e]/g, "")
    .replace(/["\\]/g, "");
  const exact = encodeURIComponent(name).replace(
    /['()*]/g,
    (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`,
  );
  return `attachment; filename="${ascii}"${ascii === name ? "" : `; filename*=UTF-8''${exact}`}`;
}

/** Lists what lies in a folder, each by its name there. */
async function listed(c: Context<App>, owner: Owner, folder: string) {
  const skip = folder === "" ? 0 : folder.length + 1;
  const found = new Map<
    string,
    { path: string; is_dir: boolean; file_size?: number | undefined }
  >();
  for (const { path, size } of await selectOwnedFiles(c.env.DB, owner, folder)) {
    const [name = "", ...deeper] = path.slice(skip).split("/");
    if (!found.has(name))
      found.set(
        name,
        deeper.length
          ? { path: name, is_dir: true }
          : { path: name, is_dir: false, file_size: size || undefined },
      );
  }
  return [...found.values()].toSorted((a, b) => (a.path < b.path ? -1 : 1));
}

/** Returns a path without slashes at its end. */
export const trimmed = (path: string): string => path.replace(/\/+$/, "");

/** Where the store of artifacts is, in the API. */
export const store = "/2.0/mlflow-artifacts";
export const artifacts = new Hono<App>()
  .get(`${store}/artifacts`, reads("list files in a folder of the store"), async (c) => {
    const { path } = await readRequest(c, { path: orElse(string, "") });
    const place = await placeOf(c, trimmed(checkArtifact(path)));
    return answer(c, { files: await listed(c, place.owner, place.path) });
  })
  .get(`${store}/artifacts/:path{[\\s\\S]+}`, reads("a file of the store"), async (c) => {
    const path = checkArtifact(pathBehind(c, "/artifacts/"));
    const place = await placeOf(c, path);
    const found = await findOwnedFile(c.env, place.owner, place.path);
    if (!found) throw new ApiError("RESOURCE_DOES_NOT_EXIST", `No such artifact: '${path}'`);
    return send(c, found);
  })
  .put(`${store}/artifacts/:path{[\\s\\S]+}`, writes("store a file"), async (c) => {
    const place = await placeOf(c, checkFilePath(pathBehind(c, "/artifacts/")));
    if (place.path === "") throw invalid("Invalid path");
    await put(c, place);
    return new Response(null);
  })
  .delete(`${store}/artifacts/:path{[\\s\\S]+}`, writes("take files from the store"), async (c) => {
    const path = trimmed(checkArtifact(pathBehind(c, "/artifacts/")));
    if (path === "") throw invalid("Invalid path");
    const place = await placeOf(c, path);
    await deleteOwnedFiles(c.env.DB, place.owner, place.path, c.get("visitor").who);
    return answer(c, {});
  })
  .get(`${store}/presigned/:path{[\\s\\S]+}`, reads("a link to a file of the store"), async (c) => {
    const path = checkArtifact(pathBehind(c, "/presigned/"));
    const place = await placeOf(c, path);
    const found = await findOwnedFile(c.env, place.owner, place.path);
    if (!found) throw new ApiError("RESOURCE_DOES_NOT_EXIST", `No such artifact: '${path}'`);
    const { origin, pathname } = new URL(c.req.url);
    const link = pathname.replace("/presigned/", "/artifacts/");
    const signature = await signatureOf("GET", link, c.env, 3600);
    return answer(c, { url: origin + link + signature, headers: {}, file_size: found.file.size });
  })
  .get("/2.0/mlflow/artifacts/list", reads("list files in a folder of a run"), async (c) => {
    const { path, ...ref } = await readRequest(c, { ...RunRef, path: orElse(string, "") });
    const id = runIdOf(ref);
    const folder = trimmed(checkArtifact(path));
    const { owner } = await placeInRun(c, id, folder);
    const files = await listed(c, owner, folder);
    return answer(c, {
      root_uri: artifactsOf(owner),
      files: files.map((file) => ({
        ...file,
        path: folder ? `${folder}/${file.path}` : file.path,
      })),
    });
  })
  .post(
    "/2.0/mlflow/artifacts/presigned-upload-url",
    writes("a link to send a file to"),
    async (c) => {
      const { run_id, model_id, path } = await readRequest(c, {
        run_id: string,
        model_id: string,
        path: required(string),
        expiration: int64,
      });
      if (!run_id === !model_id)
        throw invalid("Exactly one of run_id and model_id must be provided.");
      checkFilePath(path);
      throw invalid(
        "Presigned upload is not supported for proxied artifact storage (artifact URI scheme: mlflow-artifacts). This endpoint requires a direct cloud storage artifact URI.",
      );
    },
  )
  .post(
    "/2.0/mlflow/artifacts/presigned-download-url",
    writes("a link to a file of a run"),
    async (c) => {
      const { path } = await readRequest(c, {
        run_id: required(string),
        path: required(string),
        expiration: int64,
      });
      checkFilePath(path);
      throw invalid(
        "Presigned download is not supported for runs with proxied artifact storage (artifact URI scheme: mlflow-artifacts). This endpoint requires a run with a direct cloud storage artifact URI.",
      );
    },
  )
  .post("/2.0/mlflow/upload-artifact", writes("store a file of a run, from a page"), async (c) => {
    const [id, path] = [c.req.query("run_uuid"), c.req.query("path")];
    if (!id) throw invalid("Request must specify run_uuid.");
    if (!path) throw invalid("Request must specify path.");
    const place = await placeInRun(c, id, checkFilePath(path));
    if (Number(c.req.header("content-length") ?? 0) > maxFromPage)
      throw invalid("Artifact size is too large. Max size is 10MB.");
    const bytes = await readBytes(c, maxFromPage);
    if (!bytes.length) throw invalid("Request must specify data.");
    const upload = {
      path: place.path,
      type: mediaTypeOf(path),
      size: bytes.length,
      body: new Blob([bytes]).stream(),
    };
    await putOwnedFile(c.env, place.owner, upload, c.get("visitor").who);
    return answer(c, {});
  });

/** Returns the place of a path in the folder that a URI names; throws where that lies elsewhere. */
async function placeAt(c: Context<App>, location: string, path: string): Promise<Place> {
  const [, root] = /^mlflow-artifacts:\/*(.*)$/.exec(location) ?? [];
  if (root === undefined)
    throw new ApiError(
      "NOT_IMPLEMENTED",
      `Files lie at ${location}, where this server does not look`,
    );
  return placeOf(c, [root, trimmed(checkArtifact(path))].filter(Boolean).join("/"));
}

/** Lists what lies in a folder of the folder that a URI names, each by its path there. */
export async function listStored(c: Context<App>, location: string, folder: string) {
  const place = await placeAt(c, location, folder);
  const within = trimmed(folder);
  return (await listed(c, place.owner, place.path)).map((file) => ({
    ...file,
    path: within ? `${within}/${file.path}` : file.path,
  }));
}

/** Answers a file of the folder that a URI names. */
export async function sendStored(
  c: Context<App>,
  location: string,
  path: string,
): Promise<Response> {
  const place = await placeAt(c, location, path);
  const found = await findOwnedFile(c.env, place.owner, place.path);
  if (!found) throw new ApiError("RESOURCE_DOES_NOT_EXIST", `No such artifact: '${path}'`);
  return send(c, found);
}

/** What MLflow's pages link to. */
export const artifactPages = new Hono<App>().get(
  "/get-artifact",
  reads("a file of a run"),
  async (c) => {
    const id = c.req.query("run_id") ?? c.req.query("run_uuid");
    if (!id) throw missing("run_uuid");
    const path = checkArtifact(c.req.query("path") ?? "");
    if (!path) throw missing("path");
    const place = await placeInRun(c, id, path);
    const found = await findOwnedFile(c.env, place.owner, place.path);
    if (!found) throw new ApiError("RESOURCE_DOES_NOT_EXIST", `No such artifact: '${path}'`);
    return send(c, found);
  },
);
