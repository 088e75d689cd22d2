import { workspace } from "../env.ts";
import { putPieces } from "./objects.ts";

const prefix = "answers/";
const keyOf = (version: string) => `${prefix}${workspace}/${version}`;

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
  return putPieces(bucket, key, make());
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
