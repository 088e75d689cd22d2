import { connect } from "../index.ts";
import { experimentPage } from "./experiment.ts";
import { experimentsPage } from "./experiments.ts";
import { pathFromMlflow } from "./mlflow-link.ts";
import { render } from "lit-html";
import { bar, broken } from "./shell.ts";

/** Paths and their pages; a page draws into the root and returns how to leave it. */
const lab = await connect();
let leave = () => {};

function open(): void {
  leave();
  const path = pathFromMlflow(location.hash);
  if (path !== undefined) history.replaceState(null, "", path);
  const { pathname } = location;
  const experiment = /^\/experiments\/([^/]+)\/?$/.exec(pathname)?.[1];
  if (pathname === "/" || pathname === "/experiments") leave = experimentsPage(lab, document.body);
  else if (experiment !== undefined)
    leave = experimentPage(lab, document.body, decodeURIComponent(experiment));
  else if (/^\/runs\/[0-9a-f]{32}$/.test(pathname)) leave = toExperimentOf(pathname.slice(6));
  else {
    render([bar("", ""), broken("There is no such page", pathname)], document.body);
    leave = () => {};
  }
}

/** A run has no page of its own yet: its address leads to it in its experiment. */
function toExperimentOf(run: string): () => void {
  lab
    .run(run)
    .then(async ({ experiment, number }) => {
      const { name } = await lab.experiment(experiment);
      history.replaceState(null, "", `/experiments/${encodeURIComponent(name)}?show=${number}`);
      open();
    })
    .catch((error: Error) =>
      render([bar("", ""), broken("This run cannot be shown", error.message)], document.body),
    );
  return () => {};
}

document.addEventListener("click", (event) => {
  const link = (event.target as Element).closest?.("a");
  const isPlain =
    event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
  if (!link || !isPlain || link.origin !== location.origin || link.target) return;
  event.preventDefault();
  history.pushState(null, "", link.href);
  open();
});
addEventListener("popstate", open); // and where the fragment alone changes
open();
