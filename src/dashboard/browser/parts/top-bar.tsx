/** The head of the page: whose money this is, who is looking, the way to the documents and out. */
import { useState } from "preact/hooks";
import type { Caller } from "../answers.ts";
import { describeFailure } from "../failure.ts";
import type { Session } from "../session.ts";
import { Wordmark } from "./wordmark.tsx";

interface TopBarProps {
  readonly session: Session;
  readonly caller: Caller;
}

export function TopBar({ session, caller }: TopBarProps) {
  const [refusal, setRefusal] = useState<string | null>(null);
  const signOut = async () => {
    const failure = await session.signOut();
    setRefusal(failure && `You are still signed in. ${describeFailure(failure)}`);
  };
  const { user, organization, role } = caller;
  return (
    <header class="top-bar">
      <div class="top-bar-row">
        <Wordmark />
        <span class="organization">{organization.name}</span>
        <div class="person">
          <span class="person-name" title={user.email}>
            {user.name ?? user.email}
          </span>
          <span class="person-role">{role?.replaceAll("_", " ") ?? "no role"}</span>
        </div>
        <nav class="top-bar-links" aria-label="Account and documents">
          <a href="/docs">API docs</a>
          <button type="button" class="button" onClick={() => void signOut()}>
            Sign out
          </button>
        </nav>
      </div>
      {refusal !== null && (
        <p class="top-bar-refusal" role="alert">
          {refusal}
        </p>
      )}
    </header>
  );
}
