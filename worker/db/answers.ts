import { workspace } from "../env.ts";
import { joinBytes } from "../gzip.ts";

const prefix = "answers/";
const keyOf = (version: string) => `${prefix}${workspace}/${version}`;
/** R2 takes parts of 5 MiB or more, all of one size but the last; two of them are in memory. */
const partSize = 5 * 1024 * 1024;

/**
 * Keeps an answer whose bytes are asked for by ranges, under the name of its version, and returns its size. It is made
 * once; one that is kept already is not made again.
 */
export async function keepAnswer(
  bucket: R2Bucket,
  version: string,
  make: () => AsyncIterable<Uint8Array>,
): Promise<number> {
  const key = keyOf(version);
  const kept = await bucket.head(key);
  if (kept) return kept.size;
  let upload: R2MultipartUpload | undefined;
  const parts: R2UploadedPart[] = [];
  let [waiting, size, total]: [Uint8Array[], number, number] = [[], 0, 0];
  try {
    for await (const piece of make())
      for (let at = 0; at < piece.length;) {
        const own = piece.subarray(at, at + partSize - size);
        waiting.push(own);
        at += own.length;
        size += own.length;
        total += own.length;
        if (size < partSize) continue;
        upload ??= await bucket.createMultipartUpload(key);
        parts.push(await upload.uploadPart(parts.length + 1, joinBytes(waiting, size)));
        [waiting, size] = [[], 0];
      }
    const rest = joinBytes(waiting, size);
    if (!upload) await bucket.put(key, rest);
    else {
      if (size) parts.push(await upload.uploadPart(parts.length + 1, rest));
      await upload.complete(parts);
    }
  } catch (error) {
    await upload?.abort().catch(() => {}); // what stopped the upload is told, not that this failed, too
    throw error;
  }
  return total;
}

/** Returns a kept answer, or a part of it. */
export async function openAnswer(
  bucket: R2Bucket,
  version: string,
  range?: { offset: number; length: number },
): Promise<ReadableStream<Uint8Array>> {
  const found = await bucket.get(keyOf(version), range ? { range } : undefined);
  if (!found) throw new Error(`kept answer is gone: ${version}`);
  return found.body;
}

/** Deletes answers that were kept more than `grace` ms ago; whoever asks again has them made again. Returns how many. */
export async function collectAnswers(
  bucket: R2Bucket,
  { grace = 86_400_000 } = {},
): Promise<number> {
  let deleted = 0;
  for (let cursor: string | undefined; ;) {
    const page = await bucket.list({ prefix, ...(cursor ? { cursor } : {}) });
    const old = page.objects
      .filter(({ uploaded }) => uploaded.getTime() < Date.now() - grace)
      .map(({ key }) => key);
    if (old.length) await bucket.delete(old);
    deleted += old.length;
    if (!page.truncated) return deleted;
    cursor = page.cursor;
  }
}
