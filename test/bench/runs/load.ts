/** So many of the bench's runs in an experiment. */
export interface Load {
  experiment: string;
  /** the number of the first */
  first: number;
  runs: number;
}

const perRequest = 2000;

/** Stores runs in an experiment, and settles them into blocks; returns how many seconds each took. */
export async function storeRuns(
  url: string,
  { experiment, first, runs }: Load,
): Promise<{ stored: number; settled: number }> {
  const began = performance.now();
  const { id } = await post(`${url}/api/v1/experiments`, JSON.stringify({ name: experiment }));
  const end = first + runs;
  for (let from = first; from < end; from += perRequest)
    await post(
      `${url}/bench/runs?experiment=${id}&from=${from}&to=${Math.min(end, from + perRequest)}`,
    );
  const stored = (performance.now() - began) / 1000;
  await post(`${url}/bench/settle?experiment=${id}`);
  return { stored, settled: (performance.now() - began) / 1000 - stored };
}

async function post(url: string, body?: string): Promise<{ id: string }> {
  const response = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json" },
    ...(body ? { body } : {}),
  });
  if (!response.ok) throw new Error(`${url}: ${response.status} ${await response.text()}`);
  return response.json() as Promise<{ id: string }>;
}
