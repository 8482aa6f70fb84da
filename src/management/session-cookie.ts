/** The cookie that carries a session. */
import { SESSION_LIFETIME_SECONDS } from "../identity/session.ts";

const NAME = "spendra_session";

/**
 * The cookie's name. Behind https it has the prefix with which browsers accept it only from this
 * very host and only when it is secure (RFC 6265bis, 4.1.3.2).
 */
export function sessionCookieName(publicUrl: string): string {
  return isSecure(publicUrl) ? `__Host-${NAME}` : NAME;
}

/** The session token that the request carries, or null. */
export function readSessionCookie(request: Request, publicUrl: string): string | null {
  const name = sessionCookieName(publicUrl);
  for (const pair of (request.headers.get("cookie") ?? "").split(";")) {
    const separator = pair.indexOf("=");
    if (pair.slice(0, separator).trim() === name) {
      return pair.slice(separator + 1).trim();
    }
  }
  return null;
}

export function sessionCookie(token: string, publicUrl: string): string {
  return cookie(token, SESSION_LIFETIME_SECONDS, publicUrl);
}

/** Makes the browser forget its session. */
export function endedSessionCookie(publicUrl: string): string {
  return cookie("", 0, publicUrl);
}

function cookie(value: string, lifetimeSeconds: number, publicUrl: string): string {
  const attributes = [
    `${sessionCookieName(publicUrl)}=${value}`,
    "Path=/",
    "HttpOnly",
    "SameSite=Strict",
    `Max-Age=${lifetimeSeconds}`,
  ];
  return (isSecure(publicUrl) ? [...attributes, "Secure"] : attributes).join("; ");
}

function isSecure(publicUrl: string): boolean {
  return publicUrl.startsWith("https://");
}
