import { checkPath, maxFile, type RunFile } from "../../wire/file.ts";
import { sha256 } from "../bytes.ts";
import { typeOf } from "../media-type.ts";
import type { FoundFile } from "./found.ts";
import type { PatientApi } from "./patient.ts";
import type { ImportReport } from "./report.ts";

/** Whose files are written, and to whom it is told. */
interface FilesOwner {
  /** how the report calls it */
  owner: string;
  /** whether it has no files here yet */
  isNew: boolean;
  /** whether it takes none any more */
  isClosed: boolean;
  report: ImportReport;
}

/** Stores the files that are not below a path of the API yet, or with other content. */
export async function writeFiles(
  api: PatientApi,
  place: string,
  files: AsyncIterable<FoundFile>,
  { owner, isNew, isClosed, report }: FilesOwner,
): Promise<void> {
  const held = new Map<string, RunFile>();
  if (!isNew)
    for (const file of (await api.json<{ files: RunFile[] }>("GET", `${place}/files`)).files)
      held.set(file.path, file);
  const problem = (why: string): void =>
    void report.problems.push({ what: "file", name: owner, why });
  for await (const file of files) {
    const { path } = file;
    report.files.found++;
    const reason = whyNot(file);
    const blob = reason ? undefined : await file.open().catch((error: Error) => error);
    if (blob instanceof Error) {
      problem(`${path}: ${blob.message}`);
      continue;
    }
    if (!blob || blob.size > maxFile) {
      const why = reason ?? tooLarge(blob!.size);
      report.skipped.push({ what: "file", name: `${path} of ${owner}`, why });
      continue;
    }
    const bytes = new Uint8Array(await blob.arrayBuffer());
    const digest = await sha256(bytes);
    if (held.get(path)?.sha256 === digest) continue;
    if (isClosed) {
      problem(`${path} is not here, and the run is deleted`);
      continue;
    }
    const encoded = path.split("/").map(encodeURIComponent).join("/");
    const stored = await api.json<RunFile>("PUT", `${place}/files/${encoded}`, {
      body: bytes,
      headers: { "content-type": typeOf(path, undefined), "x-content-sha256": digest },
    });
    if (stored.sha256 !== digest) problem(`${path} has other content here`);
    report.files.added++;
    report.bytes += bytes.length;
  }
}

/** Why a file cannot stand here, as far as that is known before it is read. */
function whyNot({ path, size = 0 }: FoundFile): string | undefined {
  try {
    checkPath(path);
  } catch (error) {
    return (error as Error).message;
  }
  return size > maxFile ? tooLarge(size) : undefined;
}

const tooLarge = (size: number): string => `is too large: ${size} bytes, limit ${maxFile}`;
