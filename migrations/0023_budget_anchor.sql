-- Periods that do not begin with the calendar's: weeks from Sunday, months from the 15th, financial
-- years from April, days from six in the morning. A local date and time in the budget's zone, from
-- which periods are counted; empty for the calendar's.

alter table budgets
  add column anchor text,
  add constraint budgets_anchor_form check (
    anchor ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}$'
  ),
  add constraint budgets_anchor_period check (
    anchor is null or period in ('day', 'week', 'month', 'quarter', 'year')
  );
