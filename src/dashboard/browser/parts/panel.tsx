/** A titled part of the page in one of three conditions: waiting, failed, or showing a value. */
import type { ComponentChildren } from "preact";
import { describeFailure } from "../failure.ts";
import type { Section } from "../overview.ts";
import { Notice } from "./notice.tsx";

interface PanelProps<Value> {
  readonly id: string;
  readonly title: string;
  readonly aside?: ComponentChildren;
  readonly section: Section<Value>;
  readonly onRetry: () => Promise<void>;
  readonly children: (value: Value) => ComponentChildren;
}

export function Panel<Value>({ id, title, aside, section, onRetry, children }: PanelProps<Value>) {
  const { value, failure } = section;
  // That nothing can be reached is said once, above all parts.
  const ownFailure = failure !== null && failure.kind !== "unreachable" ? failure : null;
  return (
    <section class="panel" id={id} aria-labelledby={`${id}-title`}>
      <header class="panel-head">
        <h2 id={`${id}-title`}>{title}</h2>
        {aside}
      </header>
      {ownFailure && (
        <Notice tone="danger" onRetry={onRetry}>
          {describeFailure(ownFailure)}
        </Notice>
      )}
      {value === null && failure === null && <Skeleton />}
      {value === null && failure !== null && ownFailure === null && (
        <p class="muted">Nothing to show until the server can be reached.</p>
      )}
      {value !== null && children(value)}
    </section>
  );
}

function Skeleton() {
  return (
    <div class="skeleton" role="status" aria-label="Loading">
      <span />
      <span />
      <span />
    </div>
  );
}
