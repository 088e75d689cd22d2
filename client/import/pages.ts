import type { Api, RequestOptions } from "../api.ts";

/** A page of a list, which names where the next one begins. */
interface Page {
  next: string | number | null;
}

/** Asks for a list page by page, until one names no next. */
export async function* pagesOf<T extends object>(
  api: Pick<Api, "json">,
  path: string,
  { cursor = "after", query = {} }: { cursor?: string; query?: RequestOptions["query"] } = {},
): AsyncGenerator<T & Page> {
  for (let next: string | number | null = null; ;) {
    const page: T & Page = await api.json("GET", path, {
      query: { ...query, ...(next === null ? {} : { [cursor]: next }) },
    });
    yield page;
    next = page.next;
    if (next === null) return;
  }
}
