/** What an operator may do with the settlements on the disk of the node that answers. */
import { z } from "zod";
import type { Dependencies } from "./dependencies.ts";
import { noBody, noParams, noQuery, type Resource } from "./endpoint.ts";
import { memberEndpoint } from "./member-endpoint.ts";

const replayAnswer = z.strictObject({
  nodeId: z.string().meta({ description: "The node that answered; each has a spool of its own." }),
  bookedCount: z.int(),
  alreadyBookedCount: z
    .int()
    .meta({ description: "Their reservation had ended before: nothing was changed." }),
  deadLetteredCount: z
    .int()
    .meta({ description: "Refused by the database for good, and put aside." }),
  leftCount: z.int().meta({ description: "Not done within 8 s; the node goes on with them." }),
});

export function settlementResource(dependencies: Dependencies): Resource {
  const replay = memberEndpoint(dependencies, {
    method: "POST",
    path: "/replay",
    summary: "Book now what waits in the spool",
    description:
      "Says what became of the settlements that waited on the disk of the node that answers. " +
      "Safe at any time: nothing is booked twice, and the node does the same by itself.",
    params: noParams,
    query: noQuery,
    body: noBody,
    capabilities: ["settlement.replay"],
    answer: replayAnswer,
    answerExample: {
      nodeId: "nod_01KAJ3M2YV8Q4T6W9ZB5C7D1E2",
      bookedCount: 12,
      alreadyBookedCount: 0,
      deadLetteredCount: 0,
      leftCount: 0,
    },
    run: async () => await dependencies.settlements.replay(),
  });
  return { prefix: "/settlements", tag: "Settlements", endpoints: [replay] };
}
