-- What the hierarchy's rules need beside the tables of 0001. A project is in a team (and by that in
-- the team's branch), in a branch, or beside both; with a parent of each kind it would be in two
-- branches. Not validated: rows of before hold it already unless they were written by hand.

alter table projects
  add constraint projects_one_parent check (num_nonnulls(branch_id, team_id) <= 1) not valid;

-- Archiving looks for what is still active below.
create index teams_branch on teams (organization_id, branch_id);
create index projects_branch on projects (organization_id, branch_id);
create index projects_team on projects (organization_id, team_id);
create index employees_team on employees (organization_id, team_id);
create index agents_owner_employee on agents (organization_id, owner_employee_id);
create index agents_owner_team on agents (organization_id, owner_team_id);
create index agents_owner_project on agents (organization_id, owner_project_id);
create index agents_parent on agents (organization_id, parent_agent_id);
