/**
 * Returns our path for the fragment of a link as MLflow's clients print them, such as `#/experiments/1/runs/5f…`;
 * undefined for any other. Fragments never reach the server.
 */
export function pathFromMlflow(hash: string): string | undefined {
  const [, run] = /^#\/experiments\/[\w-]+\/runs\/([0-9a-f]{32})(?:[/?]|$)/.exec(hash) ?? [];
  if (run) return `/runs/${run}`;
  const [, experiment] = /^#\/experiments\/([\w-]+)(?:[/?]|$)/.exec(hash) ?? [];
  if (experiment) return `/experiments/${experiment}`;
  return /^#\/(experiments\/?)?$/.test(hash) ? "/experiments" : undefined;
}
