import * as v from "valibot";

/** The latest time taken, in ms since 1970: times from before 1970 or after the year 9999 are a mistake of unit, not a skewed clock. */
export const maxTime = 253_402_300_799_999;

/** A time at the door, in whole ms since 1970. */
export const Time = v.pipe(
  v.number(),
  v.check((t) => t >= 0 && t <= maxTime, "expected milliseconds since 1970"),
  v.transform(Math.floor),
);
