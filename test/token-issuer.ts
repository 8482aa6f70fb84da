/**
 * What an Auth server of Supabase shows of itself: keys at its address, and tokens signed with them
 * (ES256) or with the shared secret (HS256). Keys are rotated and the server goes away when asked.
 */
import { exportJWK, generateKeyPair, type JWTPayload, SignJWT } from "jose";

export const JWT_SECRET = "a shared secret of a project, of more than 32 bytes";

export type Claims = {
  email?: string | undefined;
  issuer?: string;
  audience?: string;
  /** Seconds from `now`. */
  expiresIn?: number;
  now: Date;
};

export async function startTokenIssuer() {
  let fetches = 0;
  let isAway = false;
  let current = await newKey("first");
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    routes: {
      "/auth/v1/.well-known/jwks.json": () => {
        fetches++;
        return isAway
          ? new Response("away\n", { status: 503 })
          : Response.json({ keys: [current.jwk] });
      },
    },
  });
  const url = `http://127.0.0.1:${server.port}`;
  return {
    url,
    fetches: () => fetches,
    setAway: (away: boolean) => {
      isAway = away;
    },
    /** Another key takes the place of the present one. */
    rotate: async (kid: string) => {
      current = await newKey(kid);
    },
    /** Signed with the present key. */
    signWithKey: async (claims: Claims, kid: string = current.kid) =>
      await tokenOf(url, claims).setProtectedHeader({ alg: "ES256", kid }).sign(current.privateKey),
    signWithSecret: async (claims: Claims, secret: string = JWT_SECRET) =>
      await tokenOf(url, claims)
        .setProtectedHeader({ alg: "HS256" })
        .sign(new TextEncoder().encode(secret)),
    /** The public key as text, for who takes it for a shared secret. */
    publicKeyText: () => JSON.stringify(current.jwk),
    stop: () => server.stop(true),
  };
}

function tokenOf(url: string, claims: Claims): SignJWT {
  const nowSeconds = Math.floor(claims.now.getTime() / 1000);
  const payload: JWTPayload = {
    role: "authenticated",
    ...(claims.email === undefined ? {} : { email: claims.email }),
  };
  return new SignJWT(payload)
    .setSubject("8d1f2a1e-0000-4000-8000-000000000000")
    .setIssuer(claims.issuer ?? `${url}/auth/v1`)
    .setAudience(claims.audience ?? "authenticated")
    .setIssuedAt(nowSeconds)
    .setExpirationTime(nowSeconds + (claims.expiresIn ?? 3_600));
}

async function newKey(kid: string) {
  const { publicKey, privateKey } = await generateKeyPair("ES256", { extractable: true });
  return { kid, privateKey, jwk: { ...(await exportJWK(publicKey)), kid, alg: "ES256" } };
}
