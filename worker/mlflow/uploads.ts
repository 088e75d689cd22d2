import { writes } from "./rights.ts";
import { Hono, type Context } from "hono";
import { ApiError } from "../../wire/error.ts";
import { maxFile } from "../../wire/file.ts";
import { signatureOf } from "../auth/visitor.ts";
import { readBytes } from "../body.ts";
import { abortUpload, beginUpload, completeUpload, putPart } from "../db/uploads.ts";
import type { App } from "../env.ts";
import {
  checkArtifact,
  checkFilePath,
  maxInMemory,
  pathBehind,
  placeOf,
  store,
  trimmed,
  type Place,
} from "./artifacts.ts";
import { answer } from "./json.ts";
import { mediaTypeOf } from "./media-type.ts";
import { int64, list, message, missing, orElse, readRequest, required, string } from "./request.ts";

const invalid = (message: string) => new ApiError("INVALID_PARAMETER_VALUE", message);

/** Returns the place of an upload in parts: the folder is in the URL, the name is that of the file where the client runs. */
async function uploadPlace(c: Context<App>, mark: string, local: string): Promise<Place> {
  const folder = trimmed(checkArtifact(pathBehind(c, mark)));
  const name = local.slice(Math.max(local.lastIndexOf("/"), local.lastIndexOf("\\")) + 1);
  return placeOf(c, checkFilePath(folder ? `${folder}/${name}` : name));
}

/** The most parts R2 takes. */
const maxParts = 10_000;

/** Files that come in parts: begun, received, and put together or given up. */
export const uploads = new Hono<App>()
  .post(`${store}/mpu/create/:path{[\\s\\S]*}`, writes("begin a file in parts"), async (c) => {
    const { path, num_parts } = await readRequest(c, {
      path: required(string),
      num_parts: orElse(int64, 1),
    });
    if (num_parts < 1 || num_parts > maxParts)
      throw invalid(
        `Invalid value ${num_parts} for parameter 'num_parts' supplied. It must be between 1 and ${maxParts}`,
      );
    const place = await uploadPlace(c, "/mpu/create/", path);
    const type = mediaTypeOf(place.path);
    const id = await beginUpload(c.env, place.owner, { path: place.path, type });
    const { origin, pathname } = new URL(c.req.url);
    const base = pathname.slice(0, pathname.indexOf("/mpu/create/"));
    const credentials = Array.from({ length: num_parts }, async (_, i) => {
      const part = `${base}/mpu/part/${id}/${i + 1}`;
      const signature = await signatureOf("PUT", part, c.env);
      return { url: origin + part + signature, part_number: i + 1, headers: {} };
    });
    return answer(c, { upload_id: id, credentials: await Promise.all(credentials) });
  })
  .put(`${store}/mpu/part/:upload/:number`, writes("a part of a file"), async (c) => {
    const number = Number(c.req.param("number"));
    if (!Number.isInteger(number) || number < 1 || number > maxParts)
      throw invalid(`Invalid part number: ${c.req.param("number")}`);
    const length = Number(c.req.header("content-length") ?? Number.NaN);
    if (length > maxFile) throw invalid(`Part is too large: ${length} bytes, limit ${maxFile}`);
    const body =
      Number.isNaN(length) || !c.req.raw.body ? await readBytes(c, maxInMemory) : c.req.raw.body;
    const etag = await putPart(c.env, c.req.param("upload"), number, body);
    return new Response(null, { headers: { etag } });
  })
  .post(`${store}/mpu/complete/:path{[\\s\\S]*}`, writes("make a file of its parts"), async (c) => {
    const { path, upload_id, parts } = await readRequest(c, {
      path: required(string),
      upload_id: required(string),
      parts: required(
        list(message({ part_number: required(int64), etag: required(string), url: string })),
      ),
    });
    const received = parts.map((part, i) => {
      if (!part) throw missing(`parts[${i}].part_number`);
      return { number: part.part_number, etag: part.etag };
    });
    const place = await uploadPlace(c, "/mpu/complete/", path);
    const { who } = c.get("visitor");
    await completeUpload(c.env, upload_id, place.owner, place.path, received, who);
    return answer(c, {});
  })
  .post(`${store}/mpu/abort/:path{[\\s\\S]*}`, writes("give a file in parts up"), async (c) => {
    const { path, upload_id } = await readRequest(c, {
      path: required(string),
      upload_id: required(string),
    });
    const place = await uploadPlace(c, "/mpu/abort/", path);
    await abortUpload(c.env, upload_id, place.owner, place.path);
    return answer(c, {});
  });
