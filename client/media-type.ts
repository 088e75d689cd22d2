const types: Record<string, string> = {
  png: "image/png",
  jpg: "image/jpeg",
  jpeg: "image/jpeg",
  gif: "image/gif",
  webp: "image/webp",
  svg: "image/svg+xml",
  csv: "text/csv",
  tsv: "text/tab-separated-values",
  txt: "text/plain",
  log: "text/plain",
  md: "text/markdown",
  json: "application/json",
  html: "text/html",
  parquet: "application/vnd.apache.parquet",
  arrow: "application/vnd.apache.arrow.file",
  mp4: "video/mp4",
  wav: "audio/wav",
  mp3: "audio/mpeg",
};

/** Returns a file's media type: what its content says of itself, or what its name's ending stands for. */
export function typeOf(path: string, content: unknown): string {
  if (content instanceof Blob && content.type) return content.type;
  return types[path.slice(path.lastIndexOf(".") + 1).toLowerCase()] ?? "application/octet-stream";
}
