import { connect, type Lab } from "../index.ts";

/** The options by which every command that talks to a server finds it. */
export const connection = { url: { type: "string" }, token: { type: "string" } } as const;

/** Returns the lab that --url and --token, or the environment, name. */
export const connectTo = ({
  url,
  token,
}: {
  url?: string | undefined;
  token?: string | undefined;
}): Promise<Lab> => connect(url, token === undefined ? {} : { token });
