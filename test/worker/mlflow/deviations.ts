/** Paths that are not answered yet. */
export const notHereYet = /3\.0\/mlflow\/datasets|users\/|^\/nope$/;

/** Where the Worker answers otherwise than the recorded MLflow, as `file n call method path`, and why. */
export const deviations: { why: string; where: RegExp }[] = [
  {
    why: "a location of files that leads elsewhere by .. is refused, so there is no such experiment",
    where: /-errors \d+ \d+: (create_experiment location \.\.|raw: (GET|POST) experiments\/search)/,
  },
  {
    why: "MLflow tells SQLite's error, or that of its own retries",
    where:
      /rename to existing|log_metric unknown model|raw: POST runs\/create (empty|broken|JSON array|gzip)/,
  },
  {
    why: "what a user did wrong is no error of the server's",
    where: /rename deleted experiment/,
  },
  {
    why: "files in parts and links to files are what the recorded server's store could not do",
    where: /server-info$|\/mpu\/create\/|\/presigned\//,
  },
  {
    why: "who started a run is a tag; a run without it says unknown",
    where: /raw: POST runs\/create (double encoded|start_time a string|unknown field|charset)/,
  },
  { why: "pages of other origins are not invited", where: /OPTIONS/ },
  {
    why: "a run that goes on has not ended, whatever time its client sends",
    where: /start_run\(run_id=…\) resumes|end_run\("FAILED"\)/,
  },
  {
    why: "several threads were recorded in another order than they arrived in",
    where: /py3-sklearn 6 /,
  },
  {
    why: "what a page token says is each server's own matter",
    where: /token bound/,
  },
  {
    why: "MLflow leaves out tags that it has just stored, where the spans of a trace came first",
    where: /py3-traces (11|13) .* POST \/api\/3\.0\/mlflow\/traces$/,
  },
];
