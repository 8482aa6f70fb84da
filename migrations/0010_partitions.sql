-- Monthly partitions, made ahead of time by the migrator and by a scheduled job. There is no
-- default partition on purpose: once it holds rows, the month it stands for cannot be created.

create function open_month_partitions(first_on date, months integer) returns integer
language plpgsql as $$
declare
  parent text;
  month_start date;
  partition_name text;
  opened integer := 0;
begin
  -- One at a time over all nodes; released at commit.
  perform pg_advisory_xact_lock(hashtext('spendra.open_month_partitions'));
  foreach parent in array array['ledger_entries', 'spend_events', 'gateway_requests'] loop
    for month_offset in 0..months - 1 loop
      month_start := date_trunc('month', first_on) + make_interval(months => month_offset);
      partition_name := parent || '_' || to_char(month_start, 'YYYY_MM');
      if to_regclass(partition_name) is null then
        -- Bounds are UTC months, whatever zone the session is in.
        execute format(
          'create table %I partition of %I for values from (%L) to (%L)',
          partition_name, parent,
          to_char(month_start, 'YYYY-MM-DD') || ' 00:00:00+00',
          to_char(month_start + interval '1 month', 'YYYY-MM-DD') || ' 00:00:00+00'
        );
        if parent = 'ledger_entries' then
          -- Statement triggers and grants of the parent do not reach a partition by itself.
          execute format(
            'create trigger %I before truncate on %I'
            ' for each statement execute function refuse_change()',
            partition_name || '_no_truncate', partition_name
          );
          execute format(
            'revoke update, delete, truncate on %I from current_user, public', partition_name
          );
        end if;
        opened := opened + 1;
      end if;
    end loop;
  end loop;
  return opened;
end
$$;
