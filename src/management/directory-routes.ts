/** The organization and everything in it that keys, budgets and policies are made for. */
import { agentResource } from "./agent-routes.ts";
import { branchResource } from "./branch-routes.ts";
import type { Dependencies } from "./dependencies.ts";
import { employeeResource } from "./employee-routes.ts";
import type { Resource } from "./endpoint.ts";
import { organizationResource } from "./organization-routes.ts";
import { projectResource } from "./project-routes.ts";
import { teamResource } from "./team-routes.ts";

export function directoryResources(dependencies: Dependencies): readonly Resource[] {
  return [
    organizationResource(dependencies),
    branchResource(dependencies),
    teamResource(dependencies),
    projectResource(dependencies),
    employeeResource(dependencies),
    agentResource(dependencies),
  ];
}
