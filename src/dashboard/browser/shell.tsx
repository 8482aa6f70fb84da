/** Decides which page is shown: none while the session is unknown, the login, or the overview. */
import { useEffect, useMemo } from "preact/hooks";
import { describeFailure } from "./failure.ts";
import { LoginPage } from "./pages/login.tsx";
import { OverviewPage } from "./pages/overview.tsx";
import { Notice } from "./parts/notice.tsx";
import { Wordmark } from "./parts/wordmark.tsx";
import { createSession, type Session } from "./session.ts";

const PAGE_TITLES = {
  unknown: "Spendra",
  unavailable: "Spendra",
  signed_out: "Sign in · Spendra",
  signed_in: "Overview · Spendra",
} as const;

export function Shell() {
  const session = useMemo(createSession, []);
  const { status } = session.state.value;
  useEffect(() => void session.resume(), [session]);
  useEffect(() => {
    document.title = PAGE_TITLES[status];
  }, [status]);
  return <Page session={session} />;
}

function Page({ session }: { session: Session }) {
  const state = session.state.value;
  switch (state.status) {
    case "unknown":
      return <main class="waiting" aria-busy="true" aria-label="Loading" />;
    case "unavailable":
      return (
        <main class="waiting">
          <h1 class="waiting-head">
            <Wordmark />
          </h1>
          <Notice tone="danger" onRetry={session.resume}>
            {describeFailure(state.failure)}
          </Notice>
        </main>
      );
    case "signed_out":
      return <LoginPage session={session} note={state.note} />;
    case "signed_in":
      return <OverviewPage key={state.caller.user.id} session={session} caller={state.caller} />;
  }
}
