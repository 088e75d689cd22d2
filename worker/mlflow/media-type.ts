/** What MLflow shows as text, by the ending of a file's name or by the name itself. */
const texts = new Set(
  "txt log err cfg conf cnf cf ini properties prop hocon toml yaml yml xml json js py py3 csv tsv md rst jsonnet ipynb MLmodel MLproject".split(
    " ",
  ),
);

const others: Record<string, string> = {
  html: "text/html",
  htm: "text/html",
  css: "text/css",
  png: "image/png",
  jpg: "image/jpeg",
  jpeg: "image/jpeg",
  gif: "image/gif",
  webp: "image/webp",
  bmp: "image/bmp",
  tif: "image/tiff",
  tiff: "image/tiff",
  svg: "image/svg+xml",
  pdf: "application/pdf",
  zip: "application/zip",
  tar: "application/x-tar",
  gz: "application/gzip",
  tgz: "application/x-tar",
  mp4: "video/mp4",
  webm: "video/webm",
  mp3: "audio/mpeg",
  wav: "audio/x-wav",
};

/** Returns the media type of a file by its name, as MLflow has it, whatever its sender or its reader says. */
export function mediaTypeOf(path: string): string {
  const name = path.slice(path.lastIndexOf("/") + 1);
  const ending = name.slice(name.lastIndexOf(".") + 1);
  if (texts.has(ending) || texts.has(ending.toLowerCase())) return "text/plain";
  if (/\.tar\.(gz|bz2|xz)$/i.test(name)) return "application/x-tar";
  const lower = ending.toLowerCase();
  return (Object.hasOwn(others, lower) ? others[lower] : undefined) ?? "application/octet-stream";
}
