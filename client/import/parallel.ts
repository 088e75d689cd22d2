/** Maps items in their order, so many at a time. */
export async function mapParallel<T, R>(
  items: readonly T[],
  map: (item: T) => Promise<R>,
  atOnce = 32,
): Promise<R[]> {
  const results: R[] = new Array(items.length);
  let next = 0;
  const work = async (): Promise<void> => {
    while (next < items.length) {
      const i = next++;
      results[i] = await map(items[i]!);
    }
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, items.length) }, work));
  return results;
}
