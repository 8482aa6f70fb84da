/** The published list: which role may do what, and who may give it. */
import { z } from "zod";
import { CAPABILITIES, capabilitiesOf, ROLES, sightOf } from "../identity/capability.ts";
import { assignableBy, isElevated } from "../identity/role-rules.ts";
import type { Dependencies } from "./dependencies.ts";
import { noBody, noParams, noQuery, type Resource } from "./endpoint.ts";
import { memberEndpoint } from "./member-endpoint.ts";

const roleAnswer = z.strictObject({
  role: z.enum(ROLES),
  isElevated: z.boolean(),
  sees: z
    .enum(["everyone", "areas", "own"])
    .meta({ description: "Whose keys, entries and requests. Areas are beside own work." }),
  assignableBy: z.array(z.enum(ROLES)),
  capabilities: z.array(z.enum(CAPABILITIES)),
});

const capabilityListAnswer = z.strictObject({ roles: z.array(roleAnswer) });

export function capabilityResource(dependencies: Dependencies): Resource {
  const read = memberEndpoint(dependencies, {
    method: "GET",
    path: "",
    summary: "List roles and their capabilities",
    description: "What the server decides by. `capabilities` beside it are the caller's own.",
    params: noParams,
    query: noQuery,
    body: noBody,
    capabilities: ["organization.read"],
    answer: capabilityListAnswer,
    answerExample: { roles: [roleOf("auditor")] },
    run: async () => ({ roles: ROLES.map(roleOf) }),
  });
  return { prefix: "/capabilities", tag: "Members", endpoints: [read] };
}

function roleOf(role: (typeof ROLES)[number]): z.output<typeof roleAnswer> {
  return {
    role,
    isElevated: isElevated(role),
    sees: sightOf(role),
    assignableBy: [...assignableBy(role)],
    capabilities: [...capabilitiesOf(role)],
  };
}
