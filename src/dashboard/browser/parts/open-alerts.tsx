/** What needs a look by a person, in its own words. Nothing is shown while there is nothing. */
import type { AlertPage } from "../answers.ts";
import { agoWords, longMoment } from "../moment.ts";
import type { Section } from "../overview.ts";
import { Panel } from "./panel.tsx";

interface OpenAlertsProps {
  readonly section: Section<AlertPage>;
  readonly nowMs: number;
  readonly onRetry: () => Promise<void>;
}

export function OpenAlerts({ section, nowMs, onRetry }: OpenAlertsProps) {
  const count = section.value?.items.length ?? 0;
  if (count === 0 && (section.failure === null || section.failure.kind === "unreachable")) {
    return null;
  }
  return (
    <Panel id="alerts" title="Alerts" section={section} onRetry={onRetry}>
      {({ items, nextCursor }) => (
        <>
          <ul class="alerts">
            {items.map(({ id, severity, summary, openedAt }) => (
              <li key={id}>
                <SeverityBadge severity={severity} />
                <p>{summary}</p>
                <time dateTime={openedAt} title={longMoment(openedAt)}>
                  {agoWords(nowMs - Date.parse(openedAt))}
                </time>
              </li>
            ))}
          </ul>
          {nextCursor !== null && nextCursor !== undefined && (
            <p class="muted">There are more alerts than fit here; the API lists them all.</p>
          )}
        </>
      )}
    </Panel>
  );
}

function SeverityBadge({ severity }: { severity: string }) {
  return severity === "critical" ? (
    <span class="badge badge-danger">Critical</span>
  ) : (
    <span class="badge badge-warning">Warning</span>
  );
}
