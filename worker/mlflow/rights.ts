import { route } from "../route.ts";

/** Declares a route of the door that changes nothing, or one that does. */
export const reads = (summary: string) => route({ right: "reader", summary: `MLflow: ${summary}` });
export const writes = (summary: string) =>
  route({ right: "writer", summary: `MLflow: ${summary}` });
