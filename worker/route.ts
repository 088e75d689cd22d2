import type { Context, Handler, MiddlewareHandler } from "hono";
import { matchedRoutes } from "hono/route";
import type * as v from "valibot";
import { ApiError } from "../wire/error.ts";
import { includes, type Right } from "./auth/visitor.ts";
import type { App } from "./env.ts";
import { isMlflow } from "./mlflow/error.ts";

/** What a route says of itself: the right it needs, and what the API document shows. */
export interface Route {
  right: Right;
  summary: string;
  /** the schema of the query, of strings */
  query?: v.GenericSchema;
  /** the schema of a JSON body, or the media types of another */
  body?: v.GenericSchema | Record<string, string>;
  /** status → what it means; the error shape is added to each route by itself */
  answers?: Record<number, string>;
}

const declared = new WeakMap<Handler, Route>();

/** Declares a route, first among its handlers: `.get("/:id", route({ right: "reader", summary: "…" }), (c) => …)`. */
export function route(it: Route): MiddlewareHandler<App> {
  const handler: MiddlewareHandler<App> = (_, next) => next();
  declared.set(handler as Handler, it);
  return handler;
}

/** Returns what a handler declared, if it is a declaration. */
export const declarationOf = (handler: unknown): Route | undefined =>
  declared.get(handler as Handler);

/** Lets a request pass whose visitor has the right that the route declares; a route that declares none is closed. */
export const guard: MiddlewareHandler<App> = async (c, next) => {
  const route = matchedRoutes(c as Context)
    .map(({ handler }) => declarationOf(handler))
    .find(Boolean);
  if (!route) throw noSuchRoute(c as Context);
  const { right, who } = c.get("visitor");
  if (!includes(right, route.right))
    throw new ApiError("PERMISSION_DENIED", `${who} is a ${right}, this needs a ${route.right}`);
  await next();
};

/** The answer to a path that leads nowhere, or nowhere by that method. */
export const noSuchRoute = (c: Context) =>
  new ApiError(
    isMlflow(c.req.path) ? "ENDPOINT_NOT_FOUND" : "RESOURCE_DOES_NOT_EXIST",
    `no such route: ${c.req.method} ${c.req.path}`,
  );
